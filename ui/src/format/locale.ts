/** What formats numbers and times: made once for each language, for that takes longer than formatting. */
import type { Lang } from '../i18n'

export function perLang<T>(make: (locale: string) => T): (lang: Lang) => T {
  const made = new Map<Lang, T>()
  return lang => {
    const known = made.get(lang)
    if (known) return known
    const fresh = make(lang === 'zh' ? 'zh-CN' : 'en-GB')
    made.set(lang, fresh)
    return fresh
  }
}

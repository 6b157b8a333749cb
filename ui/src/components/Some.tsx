/** That a list has more than is shown. */
import { count } from '../format/number'
import { lang, t } from '../i18n'

export function Some({ shown, of }: { shown: number; of: number }) {
  if (shown >= of) return null
  return <p class="muted small">{t('some', { n: count(shown, lang.value), of: count(of, lang.value) })}</p>
}

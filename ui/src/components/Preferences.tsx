/** Language and colours. */
import { lang, setLang, t } from '../i18n'
import { theme, type Theme } from '../state/theme'
import { complain } from '../state/toasts'
import { Segments } from './Segments'

export function Preferences() {
  return (
    <div class="stack">
      <Segments
        label="Language 语言"
        value={lang.value}
        set={which => setLang(which).catch(complain)}
        options={[
          ['en', 'English'],
          ['zh', '中文'],
        ]}
      />
      <Segments<Theme>
        label={t('theme')}
        value={theme.value}
        set={which => (theme.value = which)}
        options={[
          ['auto', t('theme.auto')],
          ['light', t('theme.light')],
          ['dark', t('theme.dark')],
        ]}
      />
    </div>
  )
}

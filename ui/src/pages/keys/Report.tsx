/** What an import did, or would do. */
import type { ImportReport } from '../../api/types'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'

/** Bad lines told before anything is done: the rest is told by their number. */
const SHOWN = 5

export function Outcome({ report, isPreview }: { report: ImportReport; isPreview?: boolean }) {
  const n = (value: number) => count(value, lang.value)
  const bad = isPreview ? report.bad.slice(0, SHOWN) : report.bad
  return (
    <div class="stack tight" role="status">
      <dl class="facts">
        <dt>{isPreview ? t('import.new') : t('import.added')}</dt>
        <dd class="num">{n(report.added)}</dd>
        <dt>{t('import.duplicates')}</dt>
        <dd class="num">{n(report.duplicates)}</dd>
        <dt>{isPreview ? t('import.malformed') : t('import.failed')}</dt>
        <dd class="num">{n(report.failed)}</dd>
      </dl>
      <ul>
        {bad.map(({ line, error }) => (
          <li key={line} class="error">
            {t('import.line', { line })} {error}
          </li>
        ))}
      </ul>
    </div>
  )
}

/** Adds keys: pasted, or from a file, in any format the server reads. */
import { useState } from 'preact/hooks'
import { words } from '../../api/client'
import { stream } from '../../api/ndjson'
import type { ImportReport } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { Area } from '../../components/inputs'
import { bytes, count } from '../../format/number'
import { lang, t } from '../../i18n'
import { problemOf, summary } from './pasted'

/** Longest text that is edited here (characters): browsers lay out a longer one for seconds. */
const SHOWN = 64 * 1024

export function AddKeys({ pool, onClose }: { pool: string; onClose: () => void }) {
  const [text, setText] = useState('')
  const [error, setError] = useState('')
  const [isOver, setOver] = useState(false)
  const [progress, setProgress] = useState<{ done: number; total: number }>()
  const [report, setReport] = useState<ImportReport>()
  const take = async (file: File | undefined) => {
    if (!file) return
    const content = await file.text()
    const problem = problemOf(content)
    setError(problem ? t(problem, { name: file.name }) : '')
    if (!problem) setText(content)
  }
  const submit = async (event: Event) => {
    event.preventDefault()
    setError('')
    try {
      const path = `/pools/${encodeURIComponent(pool)}/keys/import`
      const last = await stream<ImportReport>(path, { body: text }, line => {
        if (line.done !== undefined) setProgress({ done: line.done, total: line.total })
      })
      setReport(last)
    } catch (failure) {
      setError(words(failure))
    }
    setProgress(undefined)
  }
  if (report) return <Report report={report} onClose={onClose} />
  const { lines, repeated } = summary(text)
  return (
    <Dialog title={t('import.title', { pool })} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <div
          class={isOver ? 'drop over' : 'drop'}
          onDragOver={event => {
            event.preventDefault()
            setOver(true)
          }}
          onDragLeave={() => setOver(false)}
          onDrop={event => {
            event.preventDefault()
            setOver(false)
            void take(event.dataTransfer?.files[0])
          }}
        >
          <label>
            {t('import.drop')}{' '}
            <input type="file" onChange={event => void take(event.currentTarget.files?.[0])} />
          </label>
        </div>
        {text.length > SHOWN ? (
          <Large text={text} clear={() => setText('')} error={error} />
        ) : (
          <Area
            label={t('import.text')}
            hint={t('import.formats')}
            value={text}
            set={setText}
            onPaste={setText}
            error={error}
            rows={8}
          />
        )}
        <p class="num small" role="status">
          {t('import.preview', {
            n: count(lines, lang.value),
            repeated: count(repeated, lang.value),
            size: bytes(text.length),
          })}
        </p>
        {progress && <progress aria-label={t('working')} max={progress.total} value={progress.done} />}
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t('cancel')}
          </button>
          <button
            type="submit"
            class="button primary"
            disabled={text.trim() === '' || progress !== undefined}
          >
            {t('keys.add')}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** A text too long to be edited: its beginning, for one to see that it is the right one. */
function Large({ text, clear, error }: { text: string; clear: () => void; error: string }) {
  return (
    <div class="field">
      <div class="row spread">
        <span class="label">{t('import.text')}</span>
        <button type="button" class="button" onClick={clear}>
          {t('import.clear')}
        </button>
      </div>
      <pre class="notice muted">{text.slice(0, 400)}…</pre>
      {error && (
        <p class="error small" role="alert">
          {error}
        </p>
      )}
    </div>
  )
}

function Report({ report, onClose }: { report: ImportReport; onClose: () => void }) {
  const n = (value: number) => count(value, lang.value)
  return (
    <Dialog title={t('import.done')} onClose={onClose}>
      <dl class="facts">
        <dt>{t('import.added')}</dt>
        <dd>{n(report.added)}</dd>
        <dt>{t('import.duplicates')}</dt>
        <dd>{n(report.duplicates)}</dd>
        <dt>{t('import.failed')}</dt>
        <dd>{n(report.failed)}</dd>
      </dl>
      <ul class="stack">
        {report.bad.map(({ line, error }) => (
          <li key={line} class="error">
            {t('import.line', { line })} {error}
          </li>
        ))}
      </ul>
      <div class="actions">
        <button type="button" class="button primary" onClick={onClose}>
          {t('close')}
        </button>
      </div>
    </Dialog>
  )
}

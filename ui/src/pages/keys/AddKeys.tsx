/** Adds keys: pasted, or from a file, in any format the server reads; what will happen is told first. */
import { useRef, useState } from 'preact/hooks'
import { isAbort, words } from '../../api/client'
import { stream } from '../../api/ndjson'
import type { ImportLine, ImportReport } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { Area } from '../../components/inputs'
import { bytes, count } from '../../format/number'
import { lang, t } from '../../i18n'
import { Outcome } from './Report'
import { problemOf, summary } from './pasted'
import { importPath, usePreview } from './preview'

/** Longest text that is edited here (characters): browsers lay out a longer one for seconds. */
const SHOWN = 64 * 1024

interface Progress {
  done: number
  total: number | undefined
}

export function AddKeys({ pool, onClose }: { pool: string; onClose: () => void }) {
  const [text, setText] = useState('')
  const [error, setError] = useState('')
  const [progress, setProgress] = useState<Progress>()
  const [report, setReport] = useState<ImportReport>()
  const job = useRef(new AbortController())
  const preview = usePreview(pool, text)
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
    job.current = new AbortController()
    let done = 0
    setProgress({ done, total: preview.report?.total })
    try {
      const { signal } = job.current
      const last = await stream<ImportLine>(importPath(pool), { body: text, signal }, line => {
        if (line.done === undefined) return
        done = line.done
        setProgress({ done, total: line.total })
      })
      setReport(last)
    } catch (failure) {
      setError(isAbort(failure) ? t('import.stopped', { n: count(done, lang.value) }) : words(failure))
    }
    setProgress(undefined)
  }
  if (report) return <Done report={report} onClose={onClose} />
  const { lines, repeated } = summary(text)
  return (
    <Dialog title={t('import.title', { pool })} onClose={onClose} wide>
      <form class="stack" onSubmit={submit}>
        <Drop take={file => void take(file)} />
        {text.length > SHOWN ? (
          <Large text={text} clear={() => setText('')} />
        ) : (
          <Area
            label={t('import.text')}
            hint={t('import.formats')}
            value={text}
            set={setText}
            onPaste={setText}
            rows={8}
          />
        )}
        {(error || preview.error) && (
          <p class="error small" role="alert">
            {error || preview.error}
          </p>
        )}
        <p class="num small" role="status">
          {t('import.preview', {
            n: count(lines, lang.value),
            repeated: count(repeated, lang.value),
            size: bytes(text.length),
          })}
        </p>
        {preview.report && <Outcome report={preview.report} isPreview />}
        {progress && <progress aria-label={t('working')} max={progress.total} value={progress.done} />}
        <div class="actions">
          <button type="button" class="button" onClick={progress ? () => job.current.abort() : onClose}>
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

function Drop({ take }: { take: (file: File | undefined) => void }) {
  const [isOver, setOver] = useState(false)
  return (
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
        take(event.dataTransfer?.files[0])
      }}
    >
      <label>
        {t('import.drop')} <input type="file" onChange={event => take(event.currentTarget.files?.[0])} />
      </label>
    </div>
  )
}

/** A text too long to be edited: its beginning, for one to see that it is the right one. */
function Large({ text, clear }: { text: string; clear: () => void }) {
  return (
    <div class="field">
      <div class="row spread">
        <span class="label">{t('import.text')}</span>
        <button type="button" class="button" onClick={clear}>
          {t('import.clear')}
        </button>
      </div>
      <pre class="notice muted">{text.slice(0, 400)}…</pre>
    </div>
  )
}

function Done({ report, onClose }: { report: ImportReport; onClose: () => void }) {
  return (
    <Dialog title={t('import.done')} onClose={onClose}>
      <Outcome report={report} />
      <div class="actions">
        <button type="button" class="button primary" onClick={onClose}>
          {t('close')}
        </button>
      </div>
    </Dialog>
  )
}

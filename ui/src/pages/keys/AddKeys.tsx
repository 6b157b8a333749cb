/** Adds keys: pasted, or from a file, in any format the server reads; what will happen is told first. */
import { useMemo, useRef, useState } from 'preact/hooks'
import { isAbort, words } from '../../api/client'
import { stream } from '../../api/ndjson'
import type { ImportLine, ImportReport } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { bytes, count } from '../../format/number'
import { lang, t } from '../../i18n'
import { Outcome } from './Report'
import { KeysField } from './KeysField'
import { summary } from './pasted'
import { importPath, usePreview } from './preview'

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
  const submit = async (event: Event) => {
    event.preventDefault()
    setError('')
    job.current = new AbortController()
    let done = 0
    // The server reads piece by piece; how many there are the preview knows.
    const total = preview.report?.total
    setProgress({ done, total })
    try {
      const { signal } = job.current
      const last = await stream<ImportLine>(importPath(pool), { body: text, signal }, line => {
        if (line.done === undefined) return
        done = line.done
        setProgress({ done, total: total ?? line.total })
      })
      setReport(last)
    } catch (failure) {
      setError(isAbort(failure) ? t('import.stopped', { n: count(done, lang.value) }) : words(failure))
    }
    setProgress(undefined)
  }
  const { lines, repeated } = useMemo(() => summary(text), [text])
  if (report) return <Done report={report} onClose={onClose} />
  return (
    <Dialog title={t('import.title', { pool })} onClose={onClose} wide>
      <form class="stack" onSubmit={submit}>
        <KeysField text={text} set={setText} />
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

/** The second step: the keys, and whether they work. */
import { useState } from 'preact/hooks'
import { words } from '../../api/client'
import { stream } from '../../api/ndjson'
import type { ImportReport } from '../../api/types'
import { Area } from '../../components/inputs'
import { Share } from '../../components/Share'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { pools, readPools } from '../../state/pools'
import { bulk, type Progress } from '../keys/actions'

export function Keys({ pool, done }: { pool: string; done: () => void }) {
  const [text, setText] = useState('')
  const [report, setReport] = useState<ImportReport>()
  const [progress, setProgress] = useState<Progress>()
  const [error, setError] = useState('')
  const keys = pools.value?.find(({ name }) => name === pool)?.keys
  const submit = async (event: Event) => {
    event.preventDefault()
    setError('')
    setProgress({ done: 0, total: undefined })
    try {
      const path = `/pools/${encodeURIComponent(pool)}/keys/import`
      setReport(await stream<ImportReport>(path, { body: text }, () => undefined))
      setText('')
      await bulk(pool, 'test', { filter: {} }, new AbortController().signal, setProgress)
    } catch (failure) {
      setError(words(failure))
    }
    setProgress(undefined)
    await readPools().catch(() => undefined)
  }
  return (
    <form class="stack" onSubmit={submit}>
      <Area
        label={t('start.keys')}
        hint={t('import.formats')}
        value={text}
        set={setText}
        onPaste={setText}
        rows={8}
      />
      {report && (
        <p role="status">
          {t('start.added', { n: report.added, count: count(report.added, lang.value) })}{' '}
          {report.failed > 0 && `${t('import.failed')}: ${report.failed}. ${report.bad[0]?.error ?? ''}`}
        </p>
      )}
      {progress && <progress aria-label={t('working')} max={progress.total} value={progress.done} />}
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {report && keys && <Share keys={keys} />}
      <div class="actions">
        <button
          type="submit"
          class={report ? 'button' : 'button primary'}
          disabled={text.trim() === '' || progress !== undefined}
        >
          {t('start.add')}
        </button>
        <button type="button" class={report ? 'button primary' : 'button'} onClick={done}>
          {t('start.on')}
        </button>
      </div>
    </form>
  )
}

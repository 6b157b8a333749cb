/** The second step: the keys, and whether they work. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { isAbort, words } from '../../api/client'
import { stream } from '../../api/ndjson'
import type { ImportReport } from '../../api/types'
import { Share } from '../../components/Share'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { pools, readPools } from '../../state/pools'
import { Found } from '../keys/Found'
import { KeysField } from '../keys/KeysField'
import { NOTHING, type Tally, testAll } from '../keys/testing'

export function Keys({ pool, done }: { pool: string; done: () => void }) {
  const [text, setText] = useState('')
  const [report, setReport] = useState<ImportReport>()
  const [tally, setTally] = useState<Tally>(NOTHING)
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState('')
  const job = useRef(new AbortController())
  useEffect(() => () => job.current.abort(), [])
  const keys = pools.value?.find(({ name }) => name === pool)?.keys
  const submit = async (event: Event) => {
    event.preventDefault()
    setError('')
    setBusy(true)
    job.current = new AbortController()
    const { signal } = job.current
    try {
      const path = `/pools/${encodeURIComponent(pool)}/keys/import`
      setReport(await stream<ImportReport>(path, { body: text, signal }, () => undefined))
      setText('')
      await testAll(pool, { filter: {} }, signal, setTally)
    } catch (failure) {
      if (!isAbort(failure)) setError(words(failure))
    }
    setBusy(false)
    await readPools().catch(() => undefined)
  }
  return (
    <form class="stack" onSubmit={submit}>
      <KeysField text={text} set={setText} />
      {report && (
        <p role="status">
          {t('start.added', { n: report.added, count: count(report.added, lang.value) })}{' '}
          {report.failed > 0 && `${t('import.failed')}: ${report.failed}. ${report.bad[0]?.error ?? ''}`}
        </p>
      )}
      {isBusy && <progress aria-label={t('working')} max={tally.total} value={tally.done} />}
      {report && <Found tally={tally} />}
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {report && keys && <Share keys={keys} />}
      <div class="actions">
        {isBusy && (
          <button type="button" class="button" onClick={() => job.current.abort()}>
            {t('cancel')}
          </button>
        )}
        <button
          type="submit"
          class={report ? 'button' : 'button primary'}
          disabled={text.trim() === '' || isBusy}
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

/** Many keys tested: how far it is, what was found so far, and in the end. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { isAbort, words } from '../../api/client'
import { Dialog } from '../../components/Dialog'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import type { Chosen } from './actions'
import { Found } from './Found'
import { NOTHING, type Tally, testAll } from './testing'

interface Props {
  pool: string
  chosen: Chosen
  title: string
  onClose: () => void
}

type End = 'done' | 'stopped' | { error: unknown }

export function TestKeys({ pool, chosen, title, onClose }: Props) {
  const [tally, setTally] = useState<Tally>(NOTHING)
  const [end, setEnd] = useState<End>()
  const job = useRef(new AbortController())
  useEffect(() => {
    testAll(pool, chosen, job.current.signal, setTally).then(
      () => setEnd('done'),
      (error: unknown) => setEnd(isAbort(error) ? 'stopped' : { error }),
    )
    return () => job.current.abort()
  }, [])
  return (
    <Dialog title={title} onClose={onClose} firm={end === undefined}>
      <progress aria-label={title} max={tally.total ?? 1} value={tally.done} />
      <Found tally={tally} />
      <div class="row spread">
        <Status tally={tally} end={end} />
        {end === undefined ? (
          <button type="button" class="button" onClick={() => job.current.abort()}>
            {t('cancel')}
          </button>
        ) : (
          <button type="button" class="button primary" onClick={onClose}>
            {t('close')}
          </button>
        )}
      </div>
    </Dialog>
  )
}

function Status({ tally: { done, total }, end }: { tally: Tally; end: End | undefined }) {
  const [n, of] = [count(done, lang.value), total === undefined ? '…' : count(total, lang.value)]
  if (end === undefined) return <span class="num">{`${n} / ${of}`}</span>
  if (typeof end === 'object') {
    return (
      <span class="error" role="alert">
        {words(end.error)}
      </span>
    )
  }
  return (
    <span role="status">
      {end === 'done' ? t('bulk.test', { n: done, count: n }) : t('bulk.test_stopped', { n, of })}
    </span>
  )
}

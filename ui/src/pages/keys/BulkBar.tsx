/** What can be done to the keys that are chosen, and how far it is. */
import { useState } from 'preact/hooks'
import { isAbort } from '../../api/client'
import type { BulkReport } from '../../api/types'
import { Confirm } from '../../components/Confirm'
import { JobDialog } from '../../components/JobDialog'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { may } from '../../state/session'
import { complain, say } from '../../state/toasts'
import { bulk, type BulkVerb, type Chosen, type Progress } from './actions'
import type { Choice } from './choice'
import type { Filter } from './rows'
import { TestKeys } from './TestKeys'

interface Props {
  pool: string
  choice: Choice
  filter: Filter
  total: number
  done: () => void
}

export function BulkBar({ pool, choice, filter, total, done }: Props) {
  const [job, setJob] = useState<{ progress: Progress; abort: AbortController }>()
  const [tested, setTested] = useState<{ chosen: Chosen; n: number }>()
  const [isRemove, setRemove] = useState(false)
  const n = choice.isAll ? total : choice.ids.size
  const chosen: Chosen = choice.isAll ? { filter } : { ids: [...choice.ids] }

  const run = async (verb: BulkVerb, what: Chosen) => {
    const abort = new AbortController()
    const tell = (progress: Progress) => setJob({ progress, abort })
    tell({ done: 0, total: undefined })
    try {
      report(verb, await bulk(pool, verb, what, abort.signal, tell), what)
      choice.clear()
    } catch (error) {
      if (!isAbort(error)) complain(error)
    } finally {
      setJob(undefined)
      done()
    }
  }
  const report = (verb: BulkVerb, answer: BulkReport, what: Chosen) => {
    const { changed, failed, provisioned } = answer
    const left = (failed?.length ?? 0) + (provisioned ?? 0)
    const text = t(`bulk.${verb}`, { n: changed, count: count(changed, lang.value) })
    // A filter would meet other keys than those that were disabled.
    const undo = verb === 'disable' && 'ids' in what ? () => void run('enable', what) : undefined
    say(left > 0 ? `${text} ${t('bulk.left', { n: left, why: failed?.[0]?.error ?? '' })}` : text, undo)
  }

  const button = (verb: BulkVerb) => (
    <button type="button" class="button" onClick={() => void run(verb, chosen)}>
      {t(verb)}
    </button>
  )
  return (
    <>
      {n > 0 && (
        <>
          <span class="badge plain num">{t('bulk.chosen', { n, count: count(n, lang.value) })}</span>
          {button('enable')}
          {button('disable')}
          {button('reset')}
          <button type="button" class="button" onClick={() => setTested({ chosen, n })}>
            {t('test')}
          </button>
          {may('admin') && (
            <button type="button" class="button danger" onClick={() => setRemove(true)}>
              {t('remove')}
            </button>
          )}
          <button type="button" class="button quiet" onClick={choice.clear}>
            {t('bulk.clear')}
          </button>
        </>
      )}
      {job && <JobDialog title={t('working')} progress={job.progress} cancel={() => job.abort.abort()} />}
      {tested && (
        <TestKeys
          pool={pool}
          chosen={tested.chosen}
          title={t('bulk.test_title', { n: tested.n, count: count(tested.n, lang.value) })}
          onClose={() => {
            setTested(undefined)
            choice.clear()
            done()
          }}
        />
      )}
      {isRemove && (
        <Confirm
          title={t('bulk.remove_title', { n, count: count(n, lang.value) })}
          word={pool}
          verb={t('remove')}
          act={async () => {
            setRemove(false)
            await run('remove', chosen)
          }}
          onClose={() => setRemove(false)}
        >
          {t('bulk.remove_text')}
        </Confirm>
      )}
    </>
  )
}

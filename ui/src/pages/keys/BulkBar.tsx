/** What can be done to the keys that are chosen, and how far it is. */
import { useState } from 'preact/hooks'
import type { BulkReport } from '../../api/types'
import { Confirm } from '../../components/Confirm'
import { JobDialog } from '../../components/JobDialog'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { may } from '../../state/session'
import { complain, say } from '../../state/toasts'
import { bulk, type BulkVerb, type Chosen, oppositeOfAll, type Progress, restoreAll } from './actions'
import type { Choice } from './choice'
import { ExportKeys } from './ExportKeys'
import type { Filter, Rows } from './rows'
import { TestKeys } from './TestKeys'

/** Keys that were chosen when something was begun. */
interface Some {
  chosen: Chosen
  n: number
}

interface Props {
  pool: string
  choice: Choice
  filter: Filter
  rows: Rows
}

export function BulkBar({ pool, choice, filter, rows }: Props) {
  const [job, setJob] = useState<{ progress: Progress; abort: AbortController }>()
  const [tested, setTested] = useState<Some>()
  const [exported, setExported] = useState<Some>()
  const [isRemove, setRemove] = useState(false)
  const n = choice.isAll ? (rows.total ?? 0) : choice.ids.size
  const chosen: Chosen = choice.isAll ? { filter } : { ids: [...choice.ids] }

  const run = async (verb: BulkVerb, what: Chosen) => {
    const abort = new AbortController()
    const tell = (progress: Progress) => setJob({ progress, abort })
    tell({ done: 0, total: undefined })
    const undo = undoing(verb, what)
    try {
      report(verb, await bulk(pool, verb, what, abort.signal, tell), undo)
      choice.clear()
    } catch (error) {
      complain(error)
    } finally {
      setJob(undefined)
      rows.reload()
    }
  }
  /** Only of keys that were named: a filter would meet others than before. */
  const undoing = (verb: BulkVerb, what: Chosen) => {
    if (!('ids' in what)) return undefined
    if (verb === 'remove') return () => void restoreAll(what.ids).then(rows.reload, complain)
    const back = oppositeOfAll(what.ids.map(rows.find), verb)
    return back && (() => void run(back, what))
  }
  const report = (verb: BulkVerb, answer: BulkReport, undo: (() => void) | undefined) => {
    const { changed, failed, provisioned } = answer
    const left = (failed?.length ?? 0) + (provisioned ?? 0)
    const text = t(`bulk.${verb}`, { n: changed, count: count(changed, lang.value) })
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
            <>
              <button type="button" class="button" onClick={() => setExported({ chosen, n })}>
                {t('export')}
              </button>
              <button type="button" class="button danger" onClick={() => setRemove(true)}>
                {t('remove')}
              </button>
            </>
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
            rows.reload()
          }}
        />
      )}
      {exported && (
        <ExportKeys
          pool={pool}
          chosen={exported.chosen}
          title={t('export.title_some', { n: exported.n, count: count(exported.n, lang.value) })}
          onClose={() => setExported(undefined)}
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

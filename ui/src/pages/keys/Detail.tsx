/** Everything known of one key. */
import { useState } from 'preact/hooks'
import type { Key, Use } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { Link } from '../../components/Link'
import { Moment } from '../../components/Moment'
import { Problem } from '../../components/Problem'
import { StateBadge } from '../../components/StateBadge'
import { Text } from '../../components/inputs'
import { amounts, count } from '../../format/number'
import { lang, t, tell } from '../../i18n'
import { useResource } from '../../state/resource'
import { may } from '../../state/session'
import { act, read, test, type Verb } from './actions'
import { LastError } from './LastError'
import { Limits, LimitsForm } from './Limits'
import { type Rows, toRow } from './rows'
import { SaveForm } from './SaveForm'
import { useSaving } from './saving'

export function Detail({ id, rows, onClose }: { id: string; rows: Rows; onClose: () => void }) {
  const key = useResource(() => read(id), [id])
  const [error, setError] = useState<unknown>(null)
  const row = key.data && toRow(key.data)
  const run = async (verb: Verb | 'test') => {
    try {
      const data = verb === 'test' ? await test(id, row?.name ?? id) : await act(id, verb)
      key.set(data)
      rows.change(id, toRow(data))
      setError(null)
    } catch (failure) {
      setError(failure)
    }
  }
  return (
    <Dialog title={<bdi>{row?.name ?? id}</bdi>} onClose={onClose} wide>
      {key.error != null && <Problem error={key.error} retry={key.reload} />}
      {error != null && <Problem error={error} />}
      {row && (
        <>
          <div class="row spread">
            <StateBadge state={row.state} reason={row.reason} backAt={row.backAt} />
            {may('operator') && (
              <div class="row">
                {(['enable', 'disable', 'reset', 'test'] as const).map(verb => (
                  <button key={verb} type="button" class="button" onClick={() => void run(verb)}>
                    {t(verb)}
                  </button>
                ))}
              </div>
            )}
          </div>
          {row.last_failure && <LastError pool={row.pool} failure={row.last_failure} />}
          <Facts row={row} />
          <Link to="/logs" query={{ key: row.id }}>
            {t('keys.logs')}
          </Link>
          {may('admin') && !row.provisioned && (
            <>
              <LimitsForm row={row} saved={key.set} />
              <Note row={row} saved={key.set} />
            </>
          )}
        </>
      )}
    </Dialog>
  )
}

function Facts({ row }: { row: Key }) {
  const results = Object.entries(row.attempts).filter(([, n]) => n > 0)
  return (
    <dl class="facts">
      <dt>{t('pool')}</dt>
      <dd>{row.pool}</dd>
      <dt>{t('key')}</dt>
      <dd class="mono">{row.hint}</dd>
      <dt>{t('keys.account')}</dt>
      <dd>
        <bdi>{row.account ?? '–'}</bdi>
      </dd>
      <dt title={t('keys.today_hint')}>{t('keys.today')}</dt>
      <dd class="num">{row.today ? <Today use={row.today} /> : '–'}</dd>
      {Object.keys(row.limits).length > 0 && (
        <>
          <dt title={t('keys.limit_hint')}>{t('clients.limits')}</dt>
          <dd class="num">
            <Limits limits={row.limits} />
          </dd>
        </>
      )}
      <dt>{t('chart.requests')}</dt>
      <dd class="num">{t('keys.since_start', { n: count(row.requests, lang.value) })}</dd>
      <dt>{t('keys.results')}</dt>
      <dd>{results.map(([result, n]) => `${tell('result', result)} ${n}`).join(' · ') || '–'}</dd>
      <dt>{t('keys.last_used')}</dt>
      <dd>
        <Moment at={row.last_used} />
      </dd>
      {row.recheck_at && (
        <>
          <dt>{t('keys.recheck')}</dt>
          <dd>
            <Moment at={row.recheck_at} />
          </dd>
        </>
      )}
      {row.balance && (
        <>
          <dt>{t('keys.balance')}</dt>
          <dd>
            {amounts(row.balance) || '–'} <Moment at={row.balance.checked_at} />{' '}
            <span class="error">{row.balance.error && tell('balance', row.balance.error)}</span>
          </dd>
        </>
      )}
      <dt>{t('origin')}</dt>
      <dd>{row.provisioned ? t('origin.file') : t('origin.console')}</dd>
    </dl>
  )
}

function Today({ use: { requests, failures, tokens_in, tokens_out } }: { use: Use }) {
  const n = (value: number) => count(value, lang.value)
  return (
    <>
      {t('keys.today_requests', { n: n(requests), failed: n(failures) })}
      <br />
      {t('chart.tokens')}: {t('overview.in_out', { in: n(tokens_in), out: n(tokens_out) })}
    </>
  )
}

function Note({ row, saved }: { row: Key; saved: (key: Key) => void }) {
  const [note, setNote] = useState(row.note ?? '')
  const { error, save } = useSaving(row, saved, now => now.note ?? '–')
  return (
    <SaveForm save={() => save({ note: note.trim() === '' ? null : note })}>
      <Text label={t('keys.note')} value={note} set={setNote} error={error} />
    </SaveForm>
  )
}

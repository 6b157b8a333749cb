/** Pool, state, reason and text. */
import { PoolSelect } from '../../components/PoolSelect'
import { Select, Text } from '../../components/inputs'
import { t, tell } from '../../i18n'
import { filter, param } from '../../router'

export const REASONS = [
  'rate_limited',
  'exhausted',
  'unauthorized',
  'forbidden',
  'failing',
  'operator',
  'limit',
  'balance',
  'egress',
]

export function Filters({ pool }: { pool: string | undefined }) {
  const states = ['ready', 'cooling', 'disabled'].map(
    state => [state, tell('state', state)] as [string, string],
  )
  const reasons = REASONS.map(reason => [reason, tell('reason', reason)] as [string, string])
  return (
    <div class="filters" role="search">
      <PoolSelect value={pool} set={pool => filter({ pool })} />
      <Select
        label={t('keys.state')}
        value={param('state') ?? ''}
        set={state => filter({ state })}
        options={[['', t('all')], ...states]}
      />
      <Select
        label={t('keys.reason')}
        value={param('reason') ?? ''}
        set={reason => filter({ reason })}
        options={[['', t('all')], ...reasons]}
      />
      <Text
        label={t('search')}
        class="wide"
        type="search"
        placeholder={t('keys.search')}
        value={param('q') ?? ''}
        set={q => filter({ q })}
      />
    </div>
  )
}

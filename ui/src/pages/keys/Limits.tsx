/** How much of a key's limits is used, and what they are. */
import { useState } from 'preact/hooks'
import type { Key } from '../../api/types'
import { Text } from '../../components/inputs'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { SaveForm } from './SaveForm'
import { useSaving } from './saving'

const LABELS = {
  rpm: 'clients.rpm',
  rpd: 'clients.rpd',
  tpm: 'clients.tpm',
  tpd: 'keys.tpd',
  concurrency: 'clients.concurrency',
} as const
const NAMES = Object.keys(LABELS) as (keyof typeof LABELS)[]

const n = (value: number) => count(value, lang.value)

/** Today's requests; against the limit of the provider's day, where there is one. */
export function DayUse({ row: { limits, today } }: { row: Key }) {
  const day = limits['rpd']
  if (!day) return <>{today ? n(today.requests) : '–'}</>
  return (
    <span title={t('keys.limit_hint')} class={day.used >= day.limit ? 'error' : ''}>
      {n(day.used)} / {n(day.limit)}
    </span>
  )
}

/** Every limit of a key. */
export function Limits({ limits }: { limits: Key['limits'] }) {
  return (
    <>
      {NAMES.map(name => {
        const of = limits[name]
        return (
          of && (
            <div key={name}>
              {t(LABELS[name])}: {n(of.used)} / {n(of.limit)}
            </div>
          )
        )
      })}
    </>
  )
}

const typed = ({ limits }: Key) =>
  Object.fromEntries(NAMES.map(name => [name, limits[name] ? String(limits[name].limit) : '']))

const said = (key: Key) =>
  NAMES.flatMap(name => (key.limits[name] ? [`${t(LABELS[name])} ${n(key.limits[name].limit)}`] : [])).join(
    ', ',
  ) || '–'

export function LimitsForm({ row, saved }: { row: Key; saved: (key: Key) => void }) {
  const [draft, setDraft] = useState<Record<string, string>>(() => typed(row))
  const { error, save } = useSaving(row, saved, said)
  const limits = () => {
    const given = NAMES.filter(name => draft[name]).map(name => [name, Number(draft[name])] as const)
    return given.length > 0 ? Object.fromEntries(given) : null
  }
  return (
    <details>
      <summary>{t('keys.set_limits')}</summary>
      <SaveForm save={() => save({ limits: limits() })}>
        <div class="fields">
          {NAMES.map(name => (
            <Text
              key={name}
              label={t(LABELS[name])}
              type="number"
              placeholder={t('clients.unlimited')}
              value={draft[name] ?? ''}
              set={value => setDraft({ ...draft, [name]: value })}
            />
          ))}
        </div>
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
      </SaveForm>
    </details>
  )
}

/** When keys that rules disabled are tried again: never, at intervals, or by a cron line with its next runs. */
import { get, words } from '../../api/client'
import type { ControlAttributes } from '../../components/Field'
import { Check, Select, Text } from '../../components/inputs'
import { lang, t } from '../../i18n'
import { useResource } from '../../state/resource'
import { fromText } from './values'

interface Schedule {
  every?: string | null
  cron?: string | null
  timezone?: string | null
  probe?: boolean | null
}

interface Props {
  attributes: ControlAttributes
  value: string
  set: (text: string) => void
  isOff: boolean
}

function read(text: string): Schedule {
  const value = fromText(text)
  return typeof value === 'object' && value !== null ? value : {}
}

const kindOf = ({ every, cron }: Schedule) => (cron != null ? 'cron' : every != null ? 'every' : 'off')

/** The browser's zone. */
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone
const FIRST: Record<string, Schedule> = {
  every: { every: '10m' },
  cron: { cron: '0 0 * * *', timezone: HERE },
}

export function Reactivate({ attributes, value, set, isOff }: Props) {
  const schedule = read(value)
  const kind = kindOf(schedule)
  const change = (next: Schedule) => {
    const said = Object.fromEntries(Object.entries(next).filter(([, value]) => value != null))
    set(Object.keys(said).length ? JSON.stringify(said) : 'off')
  }
  return (
    <div class="stack">
      <select
        {...attributes}
        class="input"
        value={kind}
        disabled={isOff}
        onChange={event => change(FIRST[event.currentTarget.value] ?? {})}
      >
        {(['off', 'every', 'cron'] as const).map(kind => (
          <option key={kind} value={kind}>
            {t(`schedule.${kind}`)}
          </option>
        ))}
      </select>
      {kind !== 'off' && (
        <fieldset class="stack" disabled={isOff}>
          {kind === 'every' && (
            <>
              <Text
                label={t('schedule.interval')}
                hint="30m, 1h30m, 1d"
                value={schedule.every ?? ''}
                set={every => change({ ...schedule, every })}
              />
              <Next query={{ every: schedule.every ?? '' }} zone={HERE} />
            </>
          )}
          {kind === 'cron' && <CronFields schedule={schedule} change={change} />}
          <Check
            label={t('schedule.probe')}
            value={schedule.probe ?? true}
            set={probe => change({ ...schedule, probe })}
          />
        </fieldset>
      )}
    </div>
  )
}

function CronFields({ schedule, change }: { schedule: Schedule; change: (next: Schedule) => void }) {
  const zones = Intl.supportedValuesOf('timeZone').map(zone => [zone, zone] as [string, string])
  const zone = schedule.timezone ?? 'UTC'
  const isListed = zone === 'UTC' || zones.some(([known]) => known === zone)
  return (
    <>
      <Text
        label={t('schedule.line')}
        hint={t('schedule.line_hint')}
        value={schedule.cron ?? ''}
        set={cron => change({ ...schedule, cron })}
      />
      <Select
        label={t('schedule.zone')}
        value={zone}
        set={timezone => change({ ...schedule, timezone })}
        options={[['UTC', 'UTC'], ...(isListed ? [] : [[zone, zone] as [string, string]]), ...zones]}
      />
      <Next query={{ cron: schedule.cron ?? '', timezone: zone }} zone={zone} />
    </>
  )
}

/** A zone's clock; UTC, and says so, where the browser has not heard of the zone. */
function clockOf(timeZone: string, timeStyle: 'short' | 'medium'): Intl.DateTimeFormat {
  const locale = lang.value === 'zh' ? 'zh-CN' : 'en-GB'
  try {
    return new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle, timeZone })
  } catch {
    return new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'full', timeZone: 'UTC' })
  }
}

/** The next three runs, as the server will have them, by the clock of the zone. */
function Next({ query, zone }: { query: Record<string, string>; zone: string }) {
  const load = (signal: AbortSignal) => get<{ next: string[] }>('/schedule', query, signal)
  const found = useResource(load, Object.values(query))
  if (found.error !== null) {
    return (
      <p class="error small" role="alert">
        {words(found.error)}
      </p>
    )
  }
  const format = clockOf(zone, 'every' in query ? 'medium' : 'short')
  return (
    <div class="small" role="status">
      {t('every' in query ? 'schedule.next_every' : 'schedule.next')}
      <ol>
        {found.data?.next.map(time => (
          <li key={time}>
            <time dateTime={time}>{format.format(Date.parse(time))}</time>
          </li>
        ))}
      </ol>
    </div>
  )
}

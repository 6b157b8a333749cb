/** The numbers at the top. */
import type { ComponentChildren } from 'preact'
import type { Spread, Stats } from '../../api/types'
import { Link } from '../../components/Link'
import { count, millis, percent } from '../../format/number'
import { lang, t, tell } from '../../i18n'

const STATES = ['ready', 'cooling', 'disabled'] as const

function Tile({
  label,
  value,
  children,
}: {
  label: string
  value: ComponentChildren
  children?: ComponentChildren
}) {
  return (
    <div class="card tile">
      <span class="muted small">{label}</span>
      <span class="value">{value}</span>
      <span class="muted small">{children}</span>
    </div>
  )
}

const time = (seconds: number | null | undefined) => (seconds == null ? '–' : millis(seconds * 1000))

function Times({ label, spread }: { label: string; spread: Spread | undefined }) {
  return (
    <Tile label={label} value={time(spread?.p50)}>
      {t('overview.p99', { time: time(spread?.p99) })}
    </Tile>
  )
}

export function Tiles({ stats }: { stats: Stats | undefined }) {
  const n = (value: number | undefined) => (value === undefined ? '–' : count(value, lang.value))
  const rate = stats?.success_rate
  return (
    <div class="tiles">
      <Tile label={t('overview.rate')} value={n(stats && Math.round(stats.requests_per_minute))}>
        {t('overview.in_flight', { n: stats?.in_flight ?? 0 })}
      </Tile>
      <Tile label={t('overview.success')} value={rate == null ? '–' : percent(rate)}>
        {t('overview.requests', { n: n(stats?.requests) })}
      </Tile>
      <Times label={t('overview.latency')} spread={stats?.duration_seconds} />
      <Times label={t('overview.first_byte')} spread={stats?.first_byte_seconds} />
      <Tile label={t('overview.tokens')} value={n(stats && stats.tokens_in + stats.tokens_out)}>
        {t('overview.in_out', { in: n(stats?.tokens_in), out: n(stats?.tokens_out) })}
      </Tile>
      <Tile label={t('overview.keys')} value={n(stats?.keys.ready)}>
        {STATES.slice(1).map((state, at) => (
          <span key={state}>
            {at > 0 && ' · '}
            <Link to="/keys" query={{ state }}>
              {n(stats?.keys[state])} {tell('state', state)}
            </Link>
          </span>
        ))}
      </Tile>
    </div>
  )
}

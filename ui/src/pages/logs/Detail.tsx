/** One request: who asked for what, what each attempt of it came to, and what the provider said. */
import { get } from '../../api/client'
import type { Attempt, Failure, LogEntry, LoggedRequest, Page as PageOf } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { Link } from '../../components/Link'
import { Problem } from '../../components/Problem'
import { bytes, count, millis } from '../../format/number'
import { exact } from '../../format/time'
import { lang, t, tell } from '../../i18n'
import { useResource } from '../../state/resource'
import { may } from '../../state/session'

const MOST = 1000

/** What providers said to this request, as far as the pool remembers. */
async function failuresOf(entry: LogEntry, signal: AbortSignal): Promise<Failure[]> {
  if (!entry.pool || !may('operator')) return []
  const path = `/pools/${encodeURIComponent(entry.pool)}/failures`
  const page = await get<PageOf<Failure>>(path, { limit: MOST }, signal)
  return page.items.filter(failure => failure.request_id === entry.request_id)
}

export function Detail({ entry, onClose }: { entry: LogEntry; onClose: () => void }) {
  const path = `/logs/${encodeURIComponent(entry.request_id)}`
  const whole = useResource(signal => get<LoggedRequest>(path, {}, signal), [entry.id])
  const said = useResource(signal => failuresOf(entry, signal), [entry.id])
  const body = whole.data?.id === entry.id ? whole.data.body : undefined
  return (
    <Dialog title={<span class="mono">{entry.request_id}</span>} onClose={onClose} wide>
      {whole.error != null && <Problem error={whole.error} />}
      <Facts entry={entry} />
      <h3>{t('logs.trail')}</h3>
      {entry.trail.length === 0 && <p class="muted">{t('logs.no_trail')}</p>}
      <ol class="trail">
        {entry.trail.map((attempt, at) => (
          <li key={at}>
            <span class="num">{at + 1}</span>
            <Tried
              attempt={attempt}
              pool={entry.pool}
              failure={said.data?.find(failure => failure.key === attempt.key)}
            />
          </li>
        ))}
      </ol>
      {entry.trail_omitted > 0 && <p class="muted">{t('logs.omitted', { n: entry.trail_omitted })}</p>}
      {body != null && (
        <>
          <h3>{t('logs.body')}</h3>
          <pre class="notice body-text" tabIndex={0}>
            {body}
          </pre>
        </>
      )}
    </Dialog>
  )
}

function Tried({
  attempt,
  pool,
  failure,
}: {
  attempt: Attempt
  pool: string | null
  failure: Failure | undefined
}) {
  const words = failure && [failure.code, failure.type, failure.message].filter(Boolean).join(' · ')
  return (
    <span class="stack tight">
      <span class="row">
        <Link to="/keys" query={{ pool: pool ?? undefined, q: attempt.key }}>
          <bdi>{attempt.key}</bdi>
        </Link>
        <span class={`badge ${attempt.result === 'ok' ? 'ready' : 'cooling'}`}>
          {tell('result', attempt.result)}
        </span>
        <span class="num">{attempt.status}</span>
        {attempt.rule && <code title={t('lab.rule')}>{attempt.rule}</code>}
        {<span class="muted num">{millis(attempt.ms)}</span>}
      </span>
      <span class="muted small mono">{attempt.target}</span>
      {words && <bdi class="small">{words}</bdi>}
    </span>
  )
}

function Facts({ entry }: { entry: LogEntry }) {
  const n = (value: number | null) => (value === null ? '–' : count(value, lang.value))
  return (
    <dl class="facts">
      <dt>{t('logs.time')}</dt>
      <dd>{exact(Date.parse(entry.time), lang.value)}</dd>
      <dt>{t('logs.request')}</dt>
      <dd class="mono">
        {entry.method} <bdi>{entry.path}</bdi>
      </dd>
      <dt>{t('model')}</dt>
      <dd>
        <bdi>{entry.model ?? '–'}</bdi> {entry.pool && <span class="muted">({entry.pool})</span>}
      </dd>
      <dt>{t('logs.outcome')}</dt>
      <dd>
        {entry.status} {tell('outcome', entry.outcome)} <bdi>{entry.error}</bdi>
      </dd>
      <dt>{t('logs.client')}</dt>
      <dd>
        <bdi>{[entry.token, entry.client].filter(Boolean).join(' · ')}</bdi>
      </dd>
      <dt>{t('logs.duration')}</dt>
      <dd class="num">
        {millis(entry.duration_ms)}
        {entry.first_byte_ms !== null && ` (${t('logs.first_byte', { time: millis(entry.first_byte_ms) })})`}
      </dd>
      <dt>{t('chart.tokens')}</dt>
      <dd class="num">{t('overview.in_out', { in: n(entry.tokens_in), out: n(entry.tokens_out) })}</dd>
      <dt>{t('logs.size')}</dt>
      <dd class="num">{t('overview.in_out', { in: bytes(entry.bytes_in), out: bytes(entry.bytes_out) })}</dd>
    </dl>
  )
}

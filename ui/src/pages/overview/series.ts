/** What the charts draw, out of what the server counted. */
import type { Minute, Range, Series } from '../../api/types'

export interface Drawn {
  times: number[]
  requests: number[]
  failures: number[]
  /** Milliseconds. */
  p50: (number | null)[]
  p99: (number | null)[]
  /** Known instead of the two above where only sums were kept. */
  mean: (number | null)[]
  tokensIn: number[]
  tokensOut: number[]
}

const seconds = (time: string) => Date.parse(time) / 1000
const ms = (value: number | null) => (value === null ? null : value * 1000)
const FAILURES = ['provider_error', 'exhausted', 'broken']

function ofMinutes(minutes: Minute[]): Drawn {
  const failures = (minute: Minute) => FAILURES.reduce((sum, name) => sum + (minute.outcomes[name] ?? 0), 0)
  return {
    times: minutes.map(minute => seconds(minute.time)),
    requests: minutes.map(minute => minute.requests),
    failures: minutes.map(failures),
    p50: minutes.map(minute => ms(minute.duration_seconds.p50)),
    p99: minutes.map(minute => ms(minute.duration_seconds.p99)),
    mean: [],
    tokensIn: minutes.map(minute => minute.tokens_in),
    tokensOut: minutes.map(minute => minute.tokens_out),
  }
}

export function drawn(series: Series, range: Range): Drawn {
  if (range === '1h' && series.minutes) return ofMinutes(series.minutes)
  const { points } = series
  return {
    times: points.map(point => seconds(point.time)),
    requests: points.map(point => point.requests),
    failures: points.map(point => point.failures),
    p50: [],
    p99: [],
    mean: points.map(point => point.mean_ms),
    tokensIn: points.map(point => point.tokens_in),
    tokensOut: points.map(point => point.tokens_out),
  }
}

/** Requests, times and tokens over an hour, a day, a week or a month. */
import { useEffect, useMemo, useState } from 'preact/hooks'
import { get } from '../../api/client'
import type { Range, Series } from '../../api/types'
import { Chart, type Line } from '../../components/Chart'
import { Problem } from '../../components/Problem'
import { Segments } from '../../components/Segments'
import { count, millis } from '../../format/number'
import { lang, t } from '../../i18n'
import { useResource } from '../../state/resource'
import { drawn, type Drawn } from './series'

const MINUTE = 60_000
/** How often they are drawn anew (ms): a small part of a point's time. Many keys' hours take the server long to add up. */
const FRESH: Record<Range, number> = {
  '1h': MINUTE / 2,
  '24h': 5 * MINUTE,
  '7d': 15 * MINUTE,
  '30d': 60 * MINUTE,
}
const RANGES: [Range, string][] = [
  ['1h', '1 h'],
  ['24h', '24 h'],
  ['7d', '7 d'],
  ['30d', '30 d'],
]
const NONE: Drawn = {
  times: [],
  requests: [],
  failures: [],
  p50: [],
  p99: [],
  mean: [],
  tokensIn: [],
  tokensOut: [],
}

const line = (label: string, color: string, values: (number | null)[], isBar = false): Line => ({
  label,
  color,
  values,
  isBar,
})

function lines(data: Drawn): { requests: Line[]; times: Line[]; tokens: Line[] } {
  return {
    requests: [
      line(t('chart.requests'), '--info', data.requests, true),
      line(t('chart.failures'), '--disabled', data.failures, true),
    ],
    times: data.mean.length
      ? [line(t('chart.mean'), '--accent', data.mean)]
      : [line('p50', '--accent', data.p50), line('p99', '--cooling', data.p99)],
    tokens: [
      line(t('chart.tokens_in'), '--accent', data.tokensIn),
      line(t('chart.tokens_out'), '--info', data.tokensOut),
    ],
  }
}

export function Charts({ pool }: { pool?: string }) {
  const [range, setRange] = useState<Range>('1h')
  const series = useResource(
    async signal => {
      return drawn(await get<Series>('/stats/series', { range, pool }, signal), range)
    },
    [range, pool],
  )
  useEffect(() => {
    const timer = window.setInterval(() => {
      if (!document.hidden) series.reload()
    }, FRESH[range])
    return () => window.clearInterval(timer)
  }, [range])
  const data = series.data ?? NONE
  const { requests, times, tokens } = useMemo(() => lines(data), [data, lang.value])
  const whole = (value: number) => count(value, lang.value)
  return (
    <section class="stack">
      <div class="row spread">
        <h2>{t('chart.title')}</h2>
        <Segments label={t('chart.range')} value={range} set={setRange} options={RANGES} />
      </div>
      {series.error != null && <Problem error={series.error} retry={series.reload} />}
      <div class="split">
        <Card title={t('chart.requests')} data={data} lines={requests} format={whole} />
        <Card title={t('chart.times')} data={data} lines={times} format={millis} />
        <Card title={t('chart.tokens')} data={data} lines={tokens} format={whole} />
      </div>
    </section>
  )
}

interface CardProps {
  title: string
  data: Drawn
  lines: Line[]
  format: (value: number) => string
}

function Card({ title, data, lines, format }: CardProps) {
  return (
    <section class="card">
      <header>
        <h3>{title}</h3>
      </header>
      <Chart label={title} times={data.times} lines={lines} format={format} />
    </section>
  )
}

/** A chart over time (uPlot). */
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { lang } from '../i18n'
import { isDark } from '../state/theme'

export interface Line {
  label: string
  /** The name of a custom property. */
  color: string
  values: (number | null)[]
  isBar?: boolean
}

interface Props {
  label: string
  /** Unix seconds. */
  times: number[]
  lines: Line[]
  format: (value: number) => string
}

function color(name: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  document.body.append(probe)
  const seen = getComputedStyle(probe).color
  probe.remove()
  return seen
}

function options({ lines, format }: Props, width: number, height: number): uPlot.Options {
  const [text, grid] = [color('--muted'), color('--line')]
  const axis = {
    stroke: text,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    font: '11px system-ui',
  }
  const paths = uPlot.paths.bars?.({ size: [0.7, 40] })
  const series = lines.map(line => ({
    label: line.label,
    stroke: color(line.color),
    width: line.isBar ? 0 : 2,
    points: { show: !line.isBar && line.values.length < 3 },
    value: (_: uPlot, value: number | null) => (value === null ? '–' : format(value)),
    ...(line.isBar && paths ? { fill: color(line.color), paths } : {}),
  }))
  return {
    width,
    height,
    series: [{}, ...series],
    axes: [axis, { ...axis, size: 60, values: (_, ticks) => ticks.map(format) }],
    scales: {
      // A server that has just begun has a point or two: they stand at the end of an hour.
      x: { range: (_, min, max) => [Math.min(min, max - 3600), max] },
      y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1e-3)] },
    },
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
  }
}

export function Chart(props: Props) {
  const ref = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const data: uPlot.AlignedData = [props.times, ...props.lines.map(line => line.values)]
  const shape = [isDark.value, lang.value, ...props.lines.map(line => line.label)].join('|')
  const height = () => 190
  useEffect(() => {
    const box = ref.current
    if (!box) return
    const made = new uPlot(options(props, box.clientWidth, height()), data, box)
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: height() }))
    observer.observe(box)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [shape])
  useEffect(() => plot.current?.setData(data), [props.times, props.lines])
  return <div ref={ref} class="chart" role="img" aria-label={props.label} />
}

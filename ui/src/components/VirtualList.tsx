/** A list of which only the rows in sight are made, however long it is. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

/** Rows made above and below what is seen. */
const MARGIN = 8

interface Props {
  label: string
  total: number
  rowHeight: number
  head: ComponentChildren
  row: (index: number, top: number) => ComponentChildren
  /** What is seen, from and to; called when it changes. */
  onSee: (from: number, to: number) => void
  empty: ComponentChildren
  /** When it changes, the list begins anew at the top. */
  resetKey: string
}

export function VirtualList({ label, total, rowHeight, head, row, onSee, empty, resetKey }: Props) {
  const ref = useRef<HTMLDivElement>(null)
  const [seen, setSeen] = useState({ from: 0, to: 30 })
  const look = () => {
    const list = ref.current
    if (!list) return
    const from = Math.max(0, Math.floor(list.scrollTop / rowHeight) - MARGIN)
    const to = Math.ceil((list.scrollTop + list.clientHeight) / rowHeight) + MARGIN
    setSeen(was => (was.from === from && was.to === to ? was : { from, to }))
  }
  useEffect(() => {
    if (ref.current) ref.current.scrollTop = 0
    look()
  }, [resetKey])
  useEffect(() => {
    if (!ref.current) return
    const observer = new ResizeObserver(look)
    observer.observe(ref.current)
    return () => observer.disconnect()
  }, [])
  const to = Math.min(seen.to, total)
  useEffect(() => onSee(seen.from, to), [seen.from, to, resetKey])
  const indexes = Array.from({ length: Math.max(0, to - seen.from) }, (_, n) => seen.from + n)
  return (
    <div
      ref={ref}
      class="list"
      role="table"
      aria-label={label}
      aria-rowcount={total}
      tabIndex={0}
      onScroll={look}
    >
      {head}
      {total === 0 ? (
        <div class="empty">{empty}</div>
      ) : (
        <div class="rows" role="rowgroup" style={{ height: `${total * rowHeight}px` }}>
          {indexes.map(index => row(index, index * rowHeight))}
        </div>
      )}
    </div>
  )
}

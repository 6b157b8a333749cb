/** A link within the console: a click changes the page without loading it, a middle click is the browser's. */
import type { ComponentChildren } from 'preact'
import { go, href } from '../router'

interface Props {
  to: string
  query?: Record<string, string | undefined>
  class?: string
  'aria-current'?: 'page' | undefined
  children: ComponentChildren
}

export function Link({ to, query, class: kind, 'aria-current': current, children }: Props) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    go(to, query)
    window.scrollTo(0, 0)
  }
  return (
    <a href={href(to, query)} class={kind} aria-current={current} onClick={follow}>
      {children}
    </a>
  )
}

/** A button with a menu of actions: arrows walk through it, Escape and a click elsewhere close it. */
import type { ComponentChildren } from 'preact'
import { useId, useRef } from 'preact/hooks'

export interface Item {
  label: string
  act: () => void
  isDanger?: boolean
  isOff?: boolean
}

interface Props {
  label: string
  children: ComponentChildren
  items: Item[]
  class?: string
}

export function Menu({ label, children, items, class: kind = 'button quiet icon' }: Props) {
  const id = useId()
  const button = useRef<HTMLButtonElement>(null)
  const menu = useRef<HTMLDivElement>(null)
  const place = () => {
    if (!button.current || !menu.current) return
    const at = button.current.getBoundingClientRect()
    const { offsetWidth: width, offsetHeight: height } = menu.current
    const below = at.bottom + 4 + height < window.innerHeight
    menu.current.style.left = `${Math.max(8, Math.min(at.right - width, window.innerWidth - width - 8))}px`
    menu.current.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - height - 4)}px`
    menu.current.querySelector<HTMLElement>('button:not(:disabled)')?.focus()
  }
  const walk = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (step === undefined || !menu.current) return
    event.preventDefault()
    const all = [...menu.current.querySelectorAll<HTMLElement>('button:not(:disabled)')]
    const at = all.indexOf(document.activeElement as HTMLElement)
    all.at((at + step) % all.length)?.focus()
  }
  return (
    <>
      <button
        ref={button}
        type="button"
        class={kind}
        aria-label={label}
        aria-haspopup="menu"
        onClick={() => {
          menu.current?.togglePopover()
          if (menu.current?.matches(':popover-open')) place()
        }}
      >
        {children}
      </button>
      <div ref={menu} id={id} class="menu" popover="auto" role="menu" aria-label={label} onKeyDown={walk}>
        {items.map(item => (
          <button
            key={item.label}
            type="button"
            role="menuitem"
            class={item.isDanger ? 'danger' : ''}
            disabled={item.isOff === true}
            onClick={() => {
              menu.current?.hidePopover()
              item.act()
            }}
          >
            {item.label}
          </button>
        ))}
      </div>
    </>
  )
}

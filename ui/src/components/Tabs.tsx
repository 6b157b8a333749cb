/** Tabs: arrows go from one to the next. */
import { useId } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

interface Props<T extends string> {
  label: string
  value: T
  set: (value: T) => void
  tabs: [value: T, label: string][]
  children: ComponentChildren
}

export function Tabs<T extends string>({ label, value, set, tabs, children }: Props<T>) {
  const id = useId()
  const walk = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (step === undefined) return
    const next = tabs.at((tabs.findIndex(([tab]) => tab === value) + step) % tabs.length)
    if (!next) return
    set(next[0])
    document.getElementById(`${id}-${next[0]}`)?.focus()
  }
  return (
    <div class="stack">
      <div class="tabs" role="tablist" aria-label={label} onKeyDown={walk}>
        {tabs.map(([tab, text]) => (
          <button
            key={tab}
            id={`${id}-${tab}`}
            type="button"
            role="tab"
            aria-selected={tab === value}
            aria-controls={`${id}-panel`}
            tabIndex={tab === value ? 0 : -1}
            onClick={() => set(tab)}
          >
            {text}
          </button>
        ))}
      </div>
      <div id={`${id}-panel`} class="stack" role="tabpanel" aria-labelledby={`${id}-${value}`}>
        {children}
      </div>
    </div>
  )
}

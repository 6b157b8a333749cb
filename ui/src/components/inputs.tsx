/** The controls of forms, each with its label. */
import type { ComponentChildren } from 'preact'
import { Field } from './Field'

interface Common {
  label: ComponentChildren
  hint?: ComponentChildren
  error?: string | undefined
  class?: string
}

interface TextProps extends Common {
  value: string
  set: (value: string) => void
  type?: 'text' | 'password' | 'search' | 'number' | 'datetime-local'
  placeholder?: string
  autocomplete?: string
}

const common = ({ label, hint, error, class: kind }: Common) => ({
  label,
  ...(hint === undefined ? {} : { hint }),
  ...(error === undefined ? {} : { error }),
  ...(kind === undefined ? {} : { class: kind }),
})

export function Text(props: TextProps) {
  const { value, set, type = 'text', placeholder, autocomplete = 'off' } = props
  return (
    <Field {...common(props)}>
      {attributes => (
        <input
          {...attributes}
          class="input"
          // The union of the types would need a branch for each, with the same attributes.
          {...({ type } as { type: 'text' })}
          value={value}
          placeholder={placeholder}
          autocomplete={autocomplete}
          spellcheck={false}
          onInput={event => set(event.currentTarget.value)}
        />
      )}
    </Field>
  )
}

interface AreaProps extends Common {
  value: string
  set: (value: string) => void
  rows?: number
  placeholder?: string
  /** Takes what is pasted into an empty area, without the browser laying it out first. */
  onPaste?: (text: string) => void
}

export function Area(props: AreaProps) {
  const { value, set, rows = 6, placeholder, onPaste } = props
  return (
    <Field {...common(props)}>
      {attributes => (
        <textarea
          {...attributes}
          class="input"
          rows={rows}
          value={value}
          placeholder={placeholder}
          spellcheck={false}
          autocomplete="off"
          onInput={event => set(event.currentTarget.value)}
          onPaste={event => {
            const text = event.clipboardData?.getData('text/plain')
            if (!onPaste || !text || value !== '') return
            event.preventDefault()
            onPaste(text)
          }}
        />
      )}
    </Field>
  )
}

interface SelectProps extends Common {
  value: string
  set: (value: string) => void
  options: [value: string, label: string][]
}

export function Select(props: SelectProps) {
  const { value, set, options } = props
  return (
    <Field {...common(props)}>
      {attributes => (
        <select
          {...attributes}
          class="input"
          value={value}
          onChange={event => set(event.currentTarget.value)}
        >
          {options.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

interface CheckProps {
  label: ComponentChildren
  value: boolean
  set: (value: boolean) => void
}

export function Check({ label, value, set }: CheckProps) {
  return (
    <label class="check">
      <input type="checkbox" checked={value} onChange={event => set(event.currentTarget.checked)} />
      {label}
    </label>
  )
}

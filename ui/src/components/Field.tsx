/** A labelled control, with what the server says of its value below it. */
import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'

export interface ControlAttributes {
  id: string
  'aria-describedby': string | undefined
  'aria-invalid': boolean
}

interface Props {
  label: ComponentChildren
  hint?: ComponentChildren
  error?: string | undefined
  class?: string
  children: (attributes: ControlAttributes) => ComponentChildren
}

export function Field({ label, hint, error, class: kind = '', children }: Props) {
  const id = useId()
  const notes = [hint ? `${id}-hint` : '', error ? `${id}-error` : ''].filter(Boolean).join(' ')
  return (
    <div class={`field ${kind}`}>
      <label for={id}>{label}</label>
      {children({ id, 'aria-describedby': notes || undefined, 'aria-invalid': Boolean(error) })}
      {hint && (
        <div id={`${id}-hint`} class="muted small">
          {hint}
        </div>
      )}
      {error && (
        <div id={`${id}-error`} class="error small" role="alert">
          {error}
        </div>
      )}
    </div>
  )
}

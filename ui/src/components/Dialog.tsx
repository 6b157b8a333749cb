/** A modal dialog: the browser keeps the focus inside and closes it by Escape. */
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { t } from '../i18n'

interface Props {
  title: ComponentChildren
  onClose: () => void
  wide?: boolean
  /** Nothing but its own buttons closes it. */
  firm?: boolean
  children: ComponentChildren
}

export function Dialog({ title, onClose, wide, firm, children }: Props) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const opener = document.activeElement
    const dialog = ref.current
    dialog?.showModal()
    return () => {
      dialog?.close()
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus()
    }
  }, [])
  const cancel = (event: Event) => {
    event.preventDefault()
    if (!firm) onClose()
  }
  /** Browsers close it at the second Escape whatever was said to the first. */
  const closed = () => {
    if (firm) ref.current?.showModal()
    else if (ref.current) onClose()
  }
  return (
    <dialog ref={ref} class={wide ? 'wide' : ''} aria-labelledby={id} onCancel={cancel} onClose={closed}>
      <header>
        <h2 id={id} class="truncate">
          {title}
        </h2>
        {!firm && (
          <button type="button" class="button quiet icon" aria-label={t('close')} onClick={onClose}>
            ✕
          </button>
        )}
      </header>
      <div class="body">{children}</div>
    </dialog>
  )
}

import { useEffect, useRef } from 'preact/hooks'
import { t } from '../i18n'
import { dismiss, toasts } from '../state/toasts'

export function Toasts() {
  const ref = useRef<HTMLDivElement>(null)
  const newest = toasts.value.at(-1)?.id
  useEffect(() => {
    // Above a dialog that was opened later.
    ref.current?.hidePopover()
    if (newest !== undefined) ref.current?.showPopover()
  }, [newest])
  return (
    <div ref={ref} class="toasts" popover="manual" role="status">
      {toasts.value.map(({ id, text, isBad, undo }) => (
        <div key={id} class={isBad ? 'toast bad' : 'toast'}>
          <span class="grow">{text}</span>
          {undo && (
            <button
              type="button"
              class="button quiet"
              onClick={() => {
                dismiss(id)
                undo()
              }}
            >
              {t('undo')}
            </button>
          )}
          <button type="button" class="button quiet icon" aria-label={t('close')} onClick={() => dismiss(id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  )
}

/** A form with a button that saves what is in it. */
import type { ComponentChildren } from 'preact'
import { t } from '../../i18n'

export function SaveForm({ save, children }: { save: () => Promise<void>; children: ComponentChildren }) {
  const submit = (event: Event) => {
    event.preventDefault()
    void save()
  }
  return (
    <form class="stack" onSubmit={submit}>
      {children}
      <div class="actions">
        <button type="submit" class="button">
          {t('save')}
        </button>
      </div>
    </form>
  )
}

/** Asks before something that can't be taken back: whoever means it types the word. */
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { words } from '../api/client'
import { t } from '../i18n'
import { Dialog } from './Dialog'
import { Field } from './Field'

interface Props {
  title: string
  /** What has to be typed. */
  word: string
  verb: string
  children: ComponentChildren
  act: () => Promise<void>
  onClose: () => void
}

export function Confirm({ title, word, verb, children, act, onClose }: Props) {
  const [typed, setTyped] = useState('')
  const [error, setError] = useState('')
  const [isBusy, setBusy] = useState(false)
  const submit = async (event: Event) => {
    event.preventDefault()
    if (typed !== word || isBusy) return
    setBusy(true)
    try {
      await act()
      onClose()
    } catch (failure) {
      setError(words(failure))
      setBusy(false)
    }
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <div>{children}</div>
        <Field label={t('confirm.type', { word })} error={error}>
          {attributes => (
            <input
              {...attributes}
              class="input mono"
              autocomplete="off"
              value={typed}
              onInput={event => setTyped(event.currentTarget.value)}
            />
          )}
        </Field>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t('cancel')}
          </button>
          <button type="submit" class="button danger" disabled={typed !== word || isBusy}>
            {verb}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** Text to copy. */
import { useState } from 'preact/hooks'
import { t } from '../i18n'
import { complain } from '../state/toasts'

export async function copy(text: string): Promise<void> {
  // Browsers offer the clipboard only to pages that came by TLS or from this very machine.
  const clipboard = navigator.clipboard as Clipboard | undefined
  if (clipboard) return clipboard.writeText(text)
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way without TLS
  document.execCommand('copy')
  area.remove()
}

export function CopyButton({ text, label }: { text: string; label?: string }) {
  const [isDone, setDone] = useState(false)
  const act = () =>
    copy(text).then(() => {
      setDone(true)
      window.setTimeout(() => setDone(false), 1500)
    }, complain)
  return (
    <button type="button" class="button" onClick={act}>
      <span aria-live="polite">{isDone ? t('copied') : (label ?? t('copy'))}</span>
    </button>
  )
}

export function Code({ text, label }: { text: string; label?: string }) {
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={label ?? t('code')}>
        {text}
      </pre>
      <CopyButton text={text} />
    </div>
  )
}

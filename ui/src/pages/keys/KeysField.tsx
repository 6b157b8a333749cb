/** A text with keys: typed, pasted, or of a file that is dropped or chosen. */
import { useState } from 'preact/hooks'
import { Area } from '../../components/inputs'
import { t } from '../../i18n'
import { problemOf, tooLarge } from './pasted'

/** Longest text that is edited here (characters): browsers lay out a longer one for seconds. */
const SHOWN = 64 * 1024

export function KeysField({ text, set }: { text: string; set: (text: string) => void }) {
  const [isOver, setOver] = useState(false)
  const [error, setError] = useState('')
  const take = async (files: FileList | null | undefined) => {
    const [file, ...others] = files ?? []
    if (!file) return
    if (others.length > 0) {
      setError(t('import.one_file'))
      return
    }
    const content = tooLarge(file.size) ? '' : await file.text()
    const problem = tooLarge(file.size) ? 'import.too_large' : problemOf(content)
    setError(problem ? t(problem, { name: file.name }) : '')
    if (!problem) set(content)
  }
  const change = (text: string) => {
    setError('')
    set(text)
  }
  return (
    <div
      class="stack"
      onDragOver={() => setOver(true)}
      onDragLeave={() => setOver(false)}
      onDrop={event => {
        setOver(false)
        void take(event.dataTransfer?.files)
      }}
    >
      <div class={isOver ? 'drop over' : 'drop'}>
        <label>
          {t('import.drop')} <input type="file" onChange={event => void take(event.currentTarget.files)} />
        </label>
      </div>
      {text.length > SHOWN ? (
        <Large text={text} clear={() => change('')} />
      ) : (
        <Area
          label={t('import.text')}
          hint={t('import.formats')}
          value={text}
          set={change}
          onPaste={change}
          rows={8}
        />
      )}
      {error && (
        <p class="error small" role="alert">
          {error}
        </p>
      )}
    </div>
  )
}

/** A text too long to be edited: its beginning, for one to see that it is the right one. */
function Large({ text, clear }: { text: string; clear: () => void }) {
  return (
    <div class="field">
      <div class="row spread">
        <span class="label">{t('import.text')}</span>
        <button type="button" class="button" onClick={clear}>
          {t('import.clear')}
        </button>
      </div>
      <pre class="notice muted">{text.slice(0, 400)}…</pre>
    </div>
  )
}

/** One setting: its value as it may be written, who said so, and the way back to what the file says. */
import type { Setting } from '../../api/types'
import { type ControlAttributes, Field } from '../../components/Field'
import { t } from '../../i18n'
import { may } from '../../state/session'
import { Reactivate } from './Reactivate'
import { choicesOf, toText } from './values'

interface Props {
  name: string
  setting: Setting
  /** `undefined` = as the server has it. */
  edited: string | undefined
  error: string | undefined
  edit: (text: string) => void
  reset: () => void
}

export function Row({ name, setting, edited, error, edit, reset }: Props) {
  const { value, origin } = setting
  return (
    <div class="setting">
      <Field label={<code>{name}</code>} error={error} class="grow">
        {attributes => (
          <Control
            attributes={attributes}
            name={name}
            setting={setting}
            text={edited ?? toText(value)}
            edit={edit}
          />
        )}
      </Field>
      <span class="muted small truncate">{edited === undefined ? '' : `← ${toText(value)}`}</span>
      <span class="row">
        <span class="badge plain">{t(`origin.${origin}`)}</span>
        {origin === 'console' && may('admin') && (
          <button type="button" class="button quiet" onClick={reset}>
            {t('settings.reset')}
          </button>
        )}
      </span>
    </div>
  )
}

interface ControlProps {
  attributes: ControlAttributes
  name: string
  setting: Setting
  text: string
  edit: (text: string) => void
}

function Control({ attributes, name, setting, text, edit }: ControlProps) {
  const choices = choicesOf(setting)
  const isOff = !may('admin')
  if (name === 'reactivate') {
    return <Reactivate attributes={attributes} value={text} set={edit} isOff={isOff} />
  }
  if (choices.length > 0) {
    return (
      <select
        {...attributes}
        class="input"
        value={text}
        disabled={isOff}
        onChange={event => edit(event.currentTarget.value)}
      >
        {choices.map(word => (
          <option key={word} value={word}>
            {word}
          </option>
        ))}
      </select>
    )
  }
  const isLong = text.length > 60
  const common = { ...attributes, class: 'input mono', value: text, disabled: isOff, spellcheck: false }
  return isLong ? (
    <textarea {...common} rows={4} onInput={event => edit(event.currentTarget.value)} />
  ) : (
    <input {...common} onInput={event => edit(event.currentTarget.value)} />
  )
}

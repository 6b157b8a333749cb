/** The settings of a pool or of the server: each with its origin, changed here or reset to what the file says. */
import { useState } from 'preact/hooks'
import { ApiError, ask, words } from '../../api/client'
import type { Settings } from '../../api/types'
import { Field } from '../../components/Field'
import { Problem } from '../../components/Problem'
import { t } from '../../i18n'
import { useResource } from '../../state/resource'
import { may } from '../../state/session'
import { say } from '../../state/toasts'
import { errorOf, fromText, toText } from './values'

interface Read {
  settings: Settings
  tag: string
}

async function read(path: string): Promise<Read> {
  const { data, headers } = await ask<Settings>('GET', path)
  return { settings: data, tag: headers.get('etag') ?? '' }
}

export function Editor({ path }: { path: string }) {
  const known = useResource(() => read(path), [path])
  const [edited, setEdited] = useState<Record<string, string>>({})
  const [error, setError] = useState<unknown>(null)
  const errors = error instanceof ApiError ? error.errors : []
  const put = async (body: Record<string, unknown>) => {
    if (!known.data) return
    try {
      const headers = { 'if-match': known.data.tag }
      const answer = await ask<Settings>('PUT', path, { body, headers })
      known.set({ settings: answer.data, tag: answer.headers.get('etag') ?? '' })
      setEdited(was => Object.fromEntries(Object.entries(was).filter(([name]) => !(name in body))))
      setError(null)
      say(t('saved'))
    } catch (failure) {
      setError(failure)
      // What was typed stays; what the other one wrote is shown beside it.
      if (failure instanceof ApiError && failure.status === 412) known.reload()
    }
  }
  const fields = Object.entries(known.data?.settings.settings ?? {})
  const values = Object.fromEntries(Object.entries(edited).map(([name, text]) => [name, fromText(text)]))
  const isStale = error instanceof ApiError && error.status === 412
  return (
    <div class="stack">
      {known.error != null && <Problem error={known.error} retry={known.reload} />}
      <section class="card">
        {fields.map(([name, { value, origin }]) => (
          <div key={name} class="setting">
            <Field label={<code>{name}</code>} error={errorOf(name, errors)} class="grow">
              {attributes => (
                <input
                  {...attributes}
                  class="input mono"
                  value={edited[name] ?? toText(value)}
                  disabled={!may('admin')}
                  onInput={event => setEdited({ ...edited, [name]: event.currentTarget.value })}
                />
              )}
            </Field>
            <span class="muted small truncate">{edited[name] === undefined ? '' : `← ${toText(value)}`}</span>
            <span class="row">
              <span class="badge plain">{t(`origin.${origin}`)}</span>
              {origin === 'console' && may('admin') && (
                <button type="button" class="button quiet" onClick={() => void put({ [name]: null })}>
                  {t('settings.reset')}
                </button>
              )}
            </span>
          </div>
        ))}
      </section>
      {Object.keys(edited).length > 0 && (
        <div class="save-bar">
          <span class={error === null ? 'muted' : 'error'} role="status">
            {error === null
              ? t('settings.edited', { n: Object.keys(edited).length })
              : isStale
                ? t('settings.stale')
                : words(error)}
          </span>
          <div class="row">
            <button
              type="button"
              class="button"
              onClick={() => {
                setEdited({})
                setError(null)
              }}
            >
              {t('cancel')}
            </button>
            <button type="button" class="button primary" onClick={() => void put(values)}>
              {t('save')}
            </button>
          </div>
        </div>
      )}
    </div>
  )
}

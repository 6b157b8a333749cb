/** The settings of a pool or of the server: each with its origin, changed here or reset to what the file says. */
import { useState } from 'preact/hooks'
import { ApiError, get, isStale, put, words } from '../../api/client'
import type { Setting, Settings } from '../../api/types'
import { Problem } from '../../components/Problem'
import { Text } from '../../components/inputs'
import { t } from '../../i18n'
import { useResource } from '../../state/resource'
import { say } from '../../state/toasts'
import { Row } from './Row'
import { errorOf, fromText, grouped, toText } from './values'

/** How secrets are shown. */
const HIDDEN = '[redacted]'

/** Writes what was set before; `null` leaves a setting to the file or the default. A secret can't be written back. */
function undoing(
  { settings }: Settings,
  names: string[],
  put: (before: Record<string, unknown>) => void,
): (() => void) | undefined {
  const written = (name: string) => (settings[name]?.origin === 'console' ? settings[name].value : null)
  const before = Object.fromEntries(names.map(name => [name, written(name)]))
  return JSON.stringify(before).includes(HIDDEN) ? undefined : () => put(before)
}

export function Editor({ path }: { path: string }) {
  const known = useResource(() => get<Settings>(path), [path])
  const [edited, setEdited] = useState<Record<string, string>>({})
  const [error, setError] = useState<unknown>(null)
  const [wanted, setWanted] = useState('')
  const errors = error instanceof ApiError ? error.errors : []
  const save = async (body: Record<string, unknown>, at = known.data) => {
    if (!at) return
    try {
      const now = await put<Settings>(path, body, at.version)
      known.set(now)
      setEdited(was => Object.fromEntries(Object.entries(was).filter(([name]) => !(name in body))))
      setError(null)
      say(
        t('saved'),
        undoing(at, Object.keys(body), back => void save(back, now)),
      )
    } catch (failure) {
      setError(failure)
      // What was typed stays; what the other one wrote is shown beside it.
      if (isStale(failure)) known.reload()
    }
  }
  const fields = Object.entries(known.data?.settings ?? {}).filter(
    ([name]) => name.includes(wanted.trim()) || edited[name] !== undefined,
  )
  const values = Object.fromEntries(Object.entries(edited).map(([name, text]) => [name, fromText(text)]))
  /** What is as it was is no change. */
  const edit = (name: string, { value }: Setting, text: string) => {
    const others = Object.entries(edited).filter(([other]) => other !== name)
    setEdited(Object.fromEntries(text === toText(value) ? others : [...others, [name, text]]))
  }
  return (
    <div class="stack">
      {known.error != null && <Problem error={known.error} retry={known.reload} />}
      <Text label={t('search')} type="search" value={wanted} set={setWanted} />
      {grouped(fields).map(([group, fields]) => (
        <section key={group} class="card">
          {group && <h3>{group}</h3>}
          {fields.map(([name, setting]) => (
            <Row
              key={name}
              name={name}
              setting={setting}
              edited={edited[name]}
              error={errorOf(name, errors)}
              edit={text => edit(name, setting, text)}
              reset={() => void save({ [name]: null })}
            />
          ))}
        </section>
      ))}
      {error !== null && Object.keys(edited).length === 0 && <Problem error={error} />}
      {Object.keys(edited).length > 0 && (
        <div class="save-bar">
          <span class={error === null ? 'muted' : 'error'} role="status">
            {error === null
              ? t('settings.edited', { n: Object.keys(edited).length })
              : isStale(error)
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
            <button type="button" class="button primary" onClick={() => void save(values)}>
              {t('save')}
            </button>
          </div>
        </div>
      )}
    </div>
  )
}

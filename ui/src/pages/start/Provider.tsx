/** The first step: whose keys they are. */
import { useState } from 'preact/hooks'
import { get, post, words } from '../../api/client'
import type { Provider as Known } from '../../api/types'
import { Problem } from '../../components/Problem'
import { Select, Text } from '../../components/inputs'
import { t } from '../../i18n'
import { readPools } from '../../state/pools'
import { useResource } from '../../state/resource'

/** One of those whose keys people have many of. */
const FIRST = 'modelscope'

export function Provider({ done }: { done: (pool: string) => void }) {
  const known = useResource(signal => get<{ items: Known[] }>('/providers', {}, signal), [])
  const [provider, setProvider] = useState(FIRST)
  const [name, setName] = useState('')
  const [target, setTarget] = useState('')
  const [error, setError] = useState('')
  const items = [...(known.data?.items ?? [])].sort((a, b) => a.name.localeCompare(b.name))
  const pack = items.find(({ name }) => name === provider)
  const [home] = pack?.base_urls ?? []
  const called = name.trim() || provider
  const submit = async (event: Event) => {
    event.preventDefault()
    setError('')
    try {
      const targets = target.trim() ? { targets: [{ url: target.trim() }] } : {}
      await post('/pools', { name: called, provider, ...targets })
      await readPools()
      done(called)
    } catch (failure) {
      setError(words(failure))
    }
  }
  if (known.error != null) return <Problem error={known.error} retry={known.reload} />
  return (
    <form class="stack" onSubmit={submit}>
      <Select
        label={t('start.provider')}
        hint={home ?? t('start.no_home')}
        value={provider}
        set={setProvider}
        options={items.map(({ name }) => [name, name])}
      />
      <Text
        label={t('start.target')}
        hint={home === undefined ? t('start.target_needed') : t('start.target_hint')}
        value={target}
        set={setTarget}
        placeholder={home ?? 'https://…/v1'}
      />
      <Text
        label={t('start.name')}
        hint={t('start.name_hint')}
        value={name}
        set={setName}
        placeholder={provider}
      />
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      <div class="actions">
        <button
          type="submit"
          class="button primary"
          disabled={!known.data || (home === undefined && target.trim() === '')}
        >
          {t('start.next')}
        </button>
      </div>
    </form>
  )
}

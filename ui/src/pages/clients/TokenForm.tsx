/** A new client token, or another say about one: what it may do, how much, and until when. */
import { useState } from 'preact/hooks'
import { ApiError, isStale, patch, post, words } from '../../api/client'
import type { CreatedToken, Token } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { Check, Select, Text } from '../../components/inputs'
import { t } from '../../i18n'
import { pools } from '../../state/pools'
import { errorOf } from '../settings/values'
import { changes, type Draft, LIMITS, draftOf, said, toBody } from './form'

interface Props {
  /** `undefined` = a new one. */
  token: Token | undefined
  onClose: () => void
  /** With what takes a change back. */
  done: (token: Token | CreatedToken, back: Record<string, unknown>) => void
}

export function TokenForm({ token, onClose, done }: Props) {
  const [draft, setDraft] = useState(() => draftOf(token))
  const [error, setError] = useState<unknown>(null)
  const [isBusy, setBusy] = useState(false)
  // Whoever was told that it changed may save all the same.
  const version = isStale(error) ? null : (token?.version ?? null)
  const errors = error instanceof ApiError ? error.errors : []
  const submit = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    try {
      if (token) {
        const { there, back } = changes(token, draft)
        if (Object.keys(there).length === 0) {
          onClose()
          return
        }
        done(await patch<Token>(`/tokens/${token.id}`, there, version), back)
      } else {
        done(await post<CreatedToken>('/tokens', said(toBody(draft))), {})
      }
    } catch (failure) {
      setError(failure)
      setBusy(false)
    }
  }
  const text = (name: 'name' | 'models' | 'budget', label: string, hint?: string) => (
    <Text
      label={label}
      value={draft[name]}
      set={value => setDraft({ ...draft, [name]: value })}
      error={errorOf(name, errors)}
      {...(hint === undefined ? {} : { hint })}
    />
  )
  return (
    <Dialog title={token ? <bdi>{token.name}</bdi> : t('clients.add')} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        {text('name', t('clients.name'))}
        <Scope draft={draft} set={setDraft} />
        {text('models', t('clients.models'), t('clients.models_hint'))}
        <fieldset class="fields">
          <legend>{t('clients.limits')}</legend>
          {LIMITS.map(name => (
            <Text
              key={name}
              label={t(`clients.${name}`)}
              type="number"
              placeholder={t('clients.unlimited')}
              value={draft[name]}
              set={value => setDraft({ ...draft, [name]: value })}
              error={errorOf(name, errors)}
            />
          ))}
          {text('budget', t('clients.budget'), t('clients.budget_hint'))}
          <Select
            label={t('clients.per')}
            value={draft.per}
            set={per => setDraft({ ...draft, per: per as Draft['per'] })}
            options={[
              ['day', t('clients.day')],
              ['month', t('clients.month')],
            ]}
          />
        </fieldset>
        <Text
          label={t('clients.expires')}
          type="datetime-local"
          value={draft.expires}
          set={expires => setDraft({ ...draft, expires })}
          error={errorOf('expires', errors)}
        />
        <Check
          label={t('clients.reveal')}
          value={draft.reveal_key}
          set={reveal_key => setDraft({ ...draft, reveal_key })}
        />
        {error !== null && (
          <p class="error" role="alert">
            {isStale(error) ? t('clients.stale') : words(error)}
          </p>
        )}
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t('cancel')}
          </button>
          <button type="submit" class="button primary" disabled={isBusy || draft.name.trim() === ''}>
            {token ? t('save') : t('clients.create')}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

function Scope({ draft, set }: { draft: Draft; set: (draft: Draft) => void }) {
  const known = (pools.value ?? []).map(({ name }) => name)
  const all = [...new Set([...known, ...draft.pools])]
  const choose = (pool: string, isChosen: boolean) =>
    set({ ...draft, pools: isChosen ? [...draft.pools, pool] : draft.pools.filter(name => name !== pool) })
  return (
    <fieldset class="row">
      <legend>{t('clients.pools')}</legend>
      {all.map(pool => (
        <Check key={pool} label={pool} value={draft.pools.includes(pool)} set={is => choose(pool, is)} />
      ))}
      <span class="muted small">{draft.pools.length === 0 && t('clients.all_pools')}</span>
    </fieldset>
  )
}

/** Tries a rule on an answer or on the last failures; nothing of it touches a key until it is taken over. */
import { useState } from 'preact/hooks'
import { get, post, put, words } from '../../api/client'
import type { Judgement, Replay, Settings } from '../../api/types'
import { Area, Text } from '../../components/inputs'
import { t } from '../../i18n'
import { may } from '../../state/session'
import { say } from '../../state/toasts'
import { Judged, Replayed } from './Results'
import { type Draft, ruleOf, toTrial } from './trial'

interface Props {
  pool: string
  draft: Draft
  set: (draft: Draft) => void
}

export function Trial({ pool, draft, set }: Props) {
  const [judgement, setJudgement] = useState<Judgement>()
  const [replay, setReplay] = useState<Replay>()
  const [error, setError] = useState('')
  const attempt = async (work: () => Promise<void>) => {
    setError('')
    setJudgement(undefined)
    setReplay(undefined)
    await work().catch((failure: unknown) => setError(words(failure)))
  }
  const judge = async () => setJudgement(await post<Judgement>('/verdict', toTrial(pool, draft)))
  const again = async () => {
    const rule = ruleOf(draft)
    setReplay(await post<Replay>('/verdict', { pool, replay: true, ...(rule ? { rule } : {}) }))
  }
  const text = (name: 'status' | 'model', label: string) => (
    <Text label={label} value={draft[name]} set={value => set({ ...draft, [name]: value })} />
  )
  const area = (name: 'headers' | 'body' | 'rule', label: string, hint?: string) => (
    <Area
      label={label}
      value={draft[name]}
      set={value => set({ ...draft, [name]: value })}
      rows={name === 'headers' ? 3 : 7}
      {...(hint === undefined ? {} : { hint })}
    />
  )
  return (
    <form
      class="stack"
      onSubmit={event => {
        event.preventDefault()
        void attempt(judge)
      }}
    >
      <div class="fields">
        {text('status', t('logs.status'))}
        {text('model', t('model'))}
      </div>
      {area('headers', t('lab.headers'), t('lab.headers_hint'))}
      {area('body', t('lab.body'))}
      {area('rule', t('lab.rule'), t('lab.rule_hint'))}
      <div class="actions">
        <button type="submit" class="button primary">
          {t('lab.try')}
        </button>
        <button type="button" class="button" onClick={() => void attempt(again)}>
          {t('lab.replay')}
        </button>
        {may('admin') && (
          <button
            type="button"
            class="button"
            disabled={draft.rule.trim() === ''}
            onClick={() => void attempt(() => adopt(pool, draft))}
          >
            {t('lab.adopt')}
          </button>
        )}
      </div>
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {judgement && <Judged judgement={judgement} />}
      {replay && <Replayed replay={replay} />}
    </form>
  )
}

/** Puts the rule before the pool's others. */
async function adopt(pool: string, draft: Draft): Promise<void> {
  const path = `/pools/${encodeURIComponent(pool)}/settings`
  const { settings, version } = await get<Settings>(path)
  const before = settings['rules.list']?.value
  const others = Array.isArray(before) ? (before as unknown[]) : []
  await put(path, { 'rules.list': [ruleOf(draft), ...others] }, version)
  say(t('lab.adopted', { pool }))
}

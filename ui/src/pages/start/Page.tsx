/** From nothing to an answer: a provider, its keys, whether they work, and what a client sends. */
import { t } from '../../i18n'
import { go, param } from '../../router'
import { pools } from '../../state/pools'
import { Keys } from './Keys'
import { Provider } from './Provider'
import { Ready } from './Ready'

const STEPS = ['provider', 'keys', 'ready'] as const
type Step = (typeof STEPS)[number]

export function Page() {
  const name = param('pool')
  const pool = pools.value?.find(pool => pool.name === name)
  const step: Step = pool ? (param('step') === 'ready' ? 'ready' : 'keys') : 'provider'
  if (pools.value === undefined) return null
  return (
    <>
      <h1>{t('start.title')}</h1>
      <ol class="steps">
        {STEPS.map((known, at) => (
          <li key={known} aria-current={known === step ? 'step' : undefined}>
            {at + 1}. {t(`start.${known}`)}
          </li>
        ))}
      </ol>
      <section class="card stack narrow">
        {!pool && <Provider done={pool => go('/start', { pool })} />}
        {pool && step === 'keys' && (
          <Keys pool={pool.name} done={() => go('/start', { pool: pool.name, step: 'ready' })} />
        )}
        {pool && step === 'ready' && <Ready pool={pool} />}
      </section>
    </>
  )
}

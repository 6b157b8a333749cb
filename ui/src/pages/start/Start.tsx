/** What an empty system begins with: a pool, and then its keys. */
import { useState } from 'preact/hooks'
import { post, words } from '../../api/client'
import { Select, Text } from '../../components/inputs'
import { t } from '../../i18n'
import { go } from '../../router'
import { readPools } from '../../state/pools'

const PROVIDERS =
  'generic modelscope siliconflow openai anthropic azure cerebras dashscope deepseek fireworks gemini groq huggingface mistral moonshot nvidia openrouter together vllm volcengine xai zhipu'.split(
    ' ',
  )

export function Start() {
  const [provider, setProvider] = useState('modelscope')
  const [name, setName] = useState('')
  const [target, setTarget] = useState('')
  const [error, setError] = useState('')
  const called = name.trim() || provider
  const submit = async (event: Event) => {
    event.preventDefault()
    try {
      const targets = target.trim() ? { targets: [{ url: target.trim() }] } : {}
      await post('/pools', { name: called, provider, ...targets })
      await readPools()
      go('/keys', { pool: called, add: '1' })
    } catch (failure) {
      setError(words(failure))
    }
  }
  return (
    <>
      <h1>{t('start.title')}</h1>
      <ol class="steps">
        <li aria-current="step">1. {t('start.provider')}</li>
        <li>2. {t('start.keys')}</li>
      </ol>
      <form class="card stack" onSubmit={submit}>
        <Select
          label={t('start.provider')}
          value={provider}
          set={setProvider}
          options={PROVIDERS.map(provider => [provider, provider])}
        />
        <Text label={t('start.name')} value={name} set={setName} placeholder={provider} />
        <Text
          label={t('start.target')}
          hint={t('start.target_hint')}
          value={target}
          set={setTarget}
          placeholder="https://…/v1"
          error={error}
        />
        <div class="actions">
          <button type="submit" class="button primary">
            {t('start.next')}
          </button>
        </div>
      </form>
    </>
  )
}

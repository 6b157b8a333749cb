/** What a client writes to use a pool, ready to be copied. */
import { useState } from 'preact/hooks'
import { t } from '../i18n'
import { Code } from './Code'
import { Tabs } from './Tabs'
import { Text } from './inputs'

const KINDS = { curl, python, node, models }
type Kind = keyof typeof KINDS

interface Use {
  base: string
  token: string
  model: string
}

/** Single quotes for a shell. */
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

function curl({ base, token, model }: Use): string {
  const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] })
  return `curl ${base}/chat/completions \\
  -H ${quoted(`Authorization: Bearer ${token}`)} \\
  -H 'Content-Type: application/json' \\
  -d ${quoted(body)}`
}

function models({ base, token }: Use): string {
  return `curl ${base}/models -H ${quoted(`Authorization: Bearer ${token}`)}`
}

function python({ base, token, model }: Use): string {
  return `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=${JSON.stringify(token)})
answer = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`
}

function node({ base, token, model }: Use): string {
  return `import OpenAI from 'openai'

const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: ${JSON.stringify(token)} })
const answer = await client.chat.completions.create({
  model: ${JSON.stringify(model)},
  messages: [{ role: 'user', content: 'Hello' }],
})
console.log(answer.choices[0].message.content)`
}

export function Snippets({ base, token }: { base: string; token?: string | undefined }) {
  const [kind, setKind] = useState<Kind>('curl')
  const [model, setModel] = useState('')
  const use = { base, token: token ?? 'CLIENT_TOKEN', model: model.trim() || 'MODEL' }
  return (
    <div class="stack">
      <Text label={t('model')} value={model} set={setModel} placeholder="MODEL" hint={t('snippets.model')} />
      <Tabs
        label={t('snippets.title')}
        value={kind}
        set={setKind}
        tabs={[
          ['curl', 'curl'],
          ['python', 'Python'],
          ['node', 'Node.js'],
          ['models', t('snippets.models')],
        ]}
      >
        <Code text={KINDS[kind](use)} label={t('snippets.title')} />
      </Tabs>
      {token === undefined && <p class="muted small">{t('snippets.token')}</p>}
    </div>
  )
}

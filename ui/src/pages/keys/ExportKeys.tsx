/** Keys leave only for whoever shows the admin token once more. */
import { useState } from 'preact/hooks'
import { send, url, words } from '../../api/client'
import { Dialog } from '../../components/Dialog'
import { Select, Text } from '../../components/inputs'
import { t } from '../../i18n'

const FILES = { yaml: 'yaml', text: 'txt', json: 'json', csv: 'csv' }

export function ExportKeys({ pool, onClose }: { pool: string; onClose: () => void }) {
  const [format, setFormat] = useState<keyof typeof FILES>('yaml')
  const [token, setToken] = useState('')
  const [error, setError] = useState('')
  const submit = async (event: Event) => {
    event.preventDefault()
    try {
      const path = url(`/pools/${encodeURIComponent(pool)}/keys/export`, { format })
      const response = await send('GET', path, { token: token.trim() })
      save(await response.blob(), `${pool}-keys.${FILES[format]}`)
      onClose()
    } catch (failure) {
      setError(words(failure))
    }
  }
  return (
    <Dialog title={t('export.title', { pool })} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <p>{t('export.text')}</p>
        <Select
          label={t('export.format')}
          value={format}
          set={value => setFormat(value as keyof typeof FILES)}
          options={[
            ['yaml', 'keys.yaml'],
            ['text', t('export.plain')],
            ['json', 'JSON'],
            ['csv', 'CSV'],
          ]}
        />
        <Text label={t('login.token')} type="password" value={token} set={setToken} error={error} />
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t('cancel')}
          </button>
          <button type="submit" class="button primary" disabled={token.trim() === ''}>
            {t('export')}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

function save(content: Blob, name: string) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(content)
  link.download = name
  link.click()
  URL.revokeObjectURL(link.href)
}

/** Keys leave as a file; the audit keeps a line of it. */
import { useState } from 'preact/hooks'
import { send, url, words } from '../../api/client'
import { Dialog } from '../../components/Dialog'
import { Select } from '../../components/inputs'
import { t } from '../../i18n'
import type { Chosen } from './actions'

const FILES = { yaml: 'yaml', text: 'txt', json: 'json', csv: 'csv' }

interface Props {
  pool: string
  /** `undefined` = all. */
  chosen?: Chosen
  title: string
  onClose: () => void
}

export function ExportKeys({ pool, chosen, title, onClose }: Props) {
  const [format, setFormat] = useState<keyof typeof FILES>('yaml')
  const [error, setError] = useState('')
  const submit = async (event: Event) => {
    event.preventDefault()
    try {
      const path = url(`/pools/${encodeURIComponent(pool)}/keys/export`, { format })
      const response = await send('POST', path, chosen ? { body: chosen } : {})
      save(await response.blob(), `${pool}-keys.${FILES[format]}`)
      onClose()
    } catch (failure) {
      setError(words(failure))
    }
  }
  return (
    <Dialog title={title} onClose={onClose}>
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
        {error && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t('cancel')}
          </button>
          <button type="submit" class="button primary">
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

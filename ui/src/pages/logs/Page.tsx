/** Requests as they were logged: found, followed, exported, and each looked into. */
import { useState } from 'preact/hooks'
import { API, get, url } from '../../api/client'
import type { LogEntry } from '../../api/types'
import { Menu } from '../../components/Menu'
import { Problem } from '../../components/Problem'
import { Check } from '../../components/inputs'
import { t } from '../../i18n'
import { param } from '../../router'
import { complain } from '../../state/toasts'
import { Detail } from './Detail'
import { FILTERS, Filters } from './Filters'
import { Table } from './Table'
import { useLog } from './entries'

export function Page() {
  const [isTail, setTail] = useState(false)
  const [shown, setShown] = useState<LogEntry>()
  const query = Object.fromEntries(FILTERS.map(name => [name, param(name)]))
  const log = useLog(query, isTail)
  const items = log.entries?.items ?? []
  const save = async (format: string) => {
    try {
      // A download would be saved as a file also if it were refused.
      await get('/logs', { ...query, limit: 1 })
    } catch (error) {
      complain(error)
      return
    }
    const link = document.createElement('a')
    link.href = API + url('/logs', { ...query, format })
    link.download = ''
    link.click()
  }
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.logs')}</h1>
        <div class="row">
          <Check label={t('logs.tail')} value={isTail} set={setTail} />
          <Menu
            label={t('export')}
            class="button"
            items={[
              { label: 'CSV', act: () => void save('csv') },
              { label: 'JSON', act: () => void save('json') },
            ]}
          >
            {t('export')}
          </Menu>
          <button type="button" class="button" onClick={log.reload}>
            {t('refresh')}
          </button>
        </div>
      </div>
      <Filters />
      {log.error != null && <Problem error={log.error} retry={log.reload} />}
      {log.entries && items.length === 0 && <div class="empty">{t('logs.none')}</div>}
      {items.length > 0 && <Table items={items} open={setShown} />}
      {log.entries?.next && (
        <div class="row">
          <button type="button" class="button" onClick={log.more}>
            {t('logs.older')}
          </button>
        </div>
      )}
      {shown && <Detail entry={shown} onClose={() => setShown(undefined)} />}
    </>
  )
}

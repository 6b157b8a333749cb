/** The keys of a pool: found, looked at, and changed, one or many. */
import { useEffect, useState } from 'preact/hooks'
import type { Item } from '../../components/Menu'
import { Problem } from '../../components/Problem'
import { VirtualList } from '../../components/VirtualList'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { filter, param } from '../../router'
import { chosen as chosenPool } from '../../state/pools'
import { may } from '../../state/session'
import { AddKeys } from './AddKeys'
import { actOnRow, testRow } from './actions'
import { BulkBar } from './BulkBar'
import { Detail } from './Detail'
import { ExportKeys } from './ExportKeys'
import { Filters } from './Filters'
import { RemoveKey } from './RemoveKey'
import { RowHead, RowView } from './RowView'
import { type Filter, type Row, useRows } from './rows'
import { useChoice } from './choice'

const ROW = 44

export function Page() {
  const pool = chosenPool(param('pool'))
  const wanted: Filter = { state: param('state'), reason: param('reason'), q: param('q') }
  const rows = useRows(pool, wanted)
  const key = [pool, wanted.state, wanted.reason, wanted.q].join('\n')
  const choice = useChoice(rows, key)
  const [removed, setRemoved] = useState<Row>()
  const [isExport, setExport] = useState(false)
  useEffect(() => {
    if (param('add') && !may('admin')) filter({ add: undefined })
  }, [])
  const items = (row: Row): Item[] => [
    { label: t('details'), act: () => filter({ key: row.id }) },
    ...(may('operator')
      ? [
          row.state === 'disabled'
            ? { label: t('enable'), act: () => void actOnRow(rows, row, 'enable') }
            : { label: t('disable'), act: () => void actOnRow(rows, row, 'disable') },
          { label: t('reset'), act: () => void actOnRow(rows, row, 'reset') },
          { label: t('test'), act: () => void testRow(rows, row) },
        ]
      : []),
    ...(may('admin')
      ? [{ label: t('remove'), act: () => setRemoved(row), isDanger: true, isOff: row.provisioned }]
      : []),
  ]
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.keys')}</h1>
        {may('admin') && pool !== undefined && (
          <div class="row">
            <button type="button" class="button" onClick={() => setExport(true)}>
              {t('export')}
            </button>
            <button type="button" class="button primary" onClick={() => filter({ add: '1' })}>
              {t('keys.add')}
            </button>
          </div>
        )}
      </div>
      <Filters pool={pool} />
      {rows.error != null && <Problem error={rows.error} retry={rows.reload} />}
      <div class="bar">
        <span class="num" role="status" data-total={rows.total}>
          {rows.total === undefined
            ? '…'
            : t('keys.count', { n: rows.total, count: count(rows.total, lang.value) })}
        </span>
        {pool !== undefined && may('operator') && (
          <BulkBar pool={pool} choice={choice} filter={wanted} rows={rows} />
        )}
      </div>
      <VirtualList
        label={t('nav.keys')}
        total={rows.total ?? 0}
        rowHeight={ROW}
        resetKey={key}
        onSee={rows.see}
        head={<RowHead isAll={choice.isAll} chooseAll={choice.chooseAll} />}
        empty={rows.total === undefined ? '' : t('keys.none')}
        row={(index, top) => {
          const row = rows.at(index)
          return (
            <RowView
              key={row?.id ?? index}
              row={row}
              index={index}
              top={top}
              isChosen={row !== undefined && choice.has(row.id)}
              choose={(row, isChosen, withShift) => choice.choose(index, row.id, isChosen, withShift)}
              open={row => filter({ key: row.id })}
              items={items}
            />
          )
        }}
      />
      {param('key') && (
        <Detail id={param('key') ?? ''} onClose={() => filter({ key: undefined })} rows={rows} />
      )}
      {param('add') && pool !== undefined && (
        <AddKeys
          pool={pool}
          onClose={() => {
            filter({ add: undefined })
            rows.reload()
          }}
        />
      )}
      {removed && <RemoveKey row={removed} onClose={() => setRemoved(undefined)} done={rows.reload} />}
      {isExport && pool !== undefined && (
        <ExportKeys pool={pool} title={t('export.title', { pool })} onClose={() => setExport(false)} />
      )}
    </>
  )
}

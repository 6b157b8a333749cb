/** One key in the list. */
import type { Item } from '../../components/Menu'
import { Menu } from '../../components/Menu'
import { Moment } from '../../components/Moment'
import { StateBadge } from '../../components/StateBadge'
import { amounts, count } from '../../format/number'
import { lang, t } from '../../i18n'
import type { Row } from './rows'

interface Props {
  row: Row | undefined
  index: number
  top: number
  isChosen: boolean
  choose: (row: Row, isChosen: boolean, withShift: boolean) => void
  open: (row: Row) => void
  items: (row: Row) => Item[]
}

export function RowView({ row, index, top, isChosen, choose, open, items }: Props) {
  const place = { transform: `translateY(${top}px)` }
  if (!row) {
    return (
      <div class="list-row" role="row" aria-rowindex={index + 1} style={place}>
        <span role="cell" />
        <span role="cell" class="muted">
          …
        </span>
      </div>
    )
  }
  return (
    <div class="list-row" role="row" aria-rowindex={index + 1} aria-selected={isChosen} style={place}>
      <span role="cell">
        <input
          type="checkbox"
          checked={isChosen}
          aria-label={t('keys.choose', { name: row.name })}
          onClick={event => choose(row, event.currentTarget.checked, event.shiftKey)}
        />
      </span>
      <span role="cell" class="truncate">
        <button type="button" class="name truncate" title={row.name} onClick={() => open(row)}>
          <bdi>{row.name}</bdi> <span class="muted mono small">{row.hint}</span>
        </button>
      </span>
      <span role="cell" class="truncate">
        <StateBadge state={row.state} reason={row.reason} backAt={row.backAt} />
      </span>
      <span role="cell" class="extra truncate">
        <bdi>{row.account ?? row.note ?? ''}</bdi>
      </span>
      <span role="cell" class="extra right num">
        {row.today ? count(row.today.requests, lang.value) : '–'}
      </span>
      <span role="cell" class="extra truncate muted small">
        <Moment at={row.last_used} />
      </span>
      <span role="cell" class="extra truncate right num small">
        {row.balance ? amounts(row.balance) : ''}
      </span>
      <span role="cell" class="extra truncate muted small">
        {row.provisioned ? t('origin.file') : t('origin.console')}
      </span>
      <span role="cell">
        <Menu label={t('keys.actions', { name: row.name })} items={items(row)}>
          ⋯
        </Menu>
      </span>
    </div>
  )
}

export function RowHead({ isAll, chooseAll }: { isAll: boolean; chooseAll: (isAll: boolean) => void }) {
  return (
    <div class="list-head" role="row">
      <span role="columnheader">
        <input
          type="checkbox"
          checked={isAll}
          aria-label={t('keys.choose_all')}
          onChange={event => chooseAll(event.currentTarget.checked)}
        />
      </span>
      <span role="columnheader">{t('key')}</span>
      <span role="columnheader">{t('keys.state')}</span>
      <span role="columnheader">{t('keys.account')}</span>
      <span role="columnheader" class="right" title={t('keys.today_hint')}>
        {t('keys.today')}
      </span>
      <span role="columnheader">{t('keys.last_used')}</span>
      <span role="columnheader" class="right">
        {t('keys.balance')}
      </span>
      <span role="columnheader">{t('origin')}</span>
      <span role="columnheader">
        <span class="sr-only">{t('keys.more')}</span>
      </span>
    </div>
  )
}

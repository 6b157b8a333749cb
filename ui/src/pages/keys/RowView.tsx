/** One key in the list. */
import type { KeyFailure } from '../../api/types'
import type { Item } from '../../components/Menu'
import { Menu } from '../../components/Menu'
import { StateBadge } from '../../components/StateBadge'
import { amounts } from '../../format/number'
import { exact } from '../../format/time'
import { lang, t } from '../../i18n'
import { wordsOf } from './LastError'
import { DayUse } from './Limits'
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
        <DayUse row={row} />
      </span>
      <span role="cell" class="extra truncate right num small">
        {row.balance ? amounts(row.balance) : ''}
      </span>
      <span role="cell" class="extra truncate small">
        {row.last_failure && <Failed failure={row.last_failure} />}
      </span>
      <span role="cell">
        <Menu label={t('keys.actions', { name: row.name })} items={items(row)}>
          ⋯
        </Menu>
      </span>
    </div>
  )
}

/** In the provider's words, with the rule that judged them. */
function Failed({ failure }: { failure: KeyFailure }) {
  const { status, time, verdict } = failure
  const words = wordsOf(failure)
  return (
    <span title={`${exact(Date.parse(time), lang.value)} · ${status} ${words} · ${verdict.rule}`}>
      <span class="num">{status}</span> <bdi>{words}</bdi> <code class="muted">{verdict.rule}</code>
    </span>
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
      <span role="columnheader" class="right">
        {t('keys.balance')}
      </span>
      <span role="columnheader">{t('keys.last_error')}</span>
      <span role="columnheader">
        <span class="sr-only">{t('keys.more')}</span>
      </span>
    </div>
  )
}

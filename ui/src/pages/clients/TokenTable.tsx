/** The tokens in a table. */
import type { Token } from '../../api/types'
import { Link } from '../../components/Link'
import { type Item, Menu } from '../../components/Menu'
import { Moment } from '../../components/Moment'
import { count } from '../../format/number'
import { lang, t } from '../../i18n'
import { may } from '../../state/session'
import { LIMITS } from './form'

interface Props {
  tokens: Token[]
  edit: (token: Token) => void
  expire: (token: Token) => void
  revoke: (token: Token) => void
}

export function TokenTable({ tokens, edit, expire, revoke }: Props) {
  const items = (token: Token): Item[] => [
    { label: t('clients.edit'), act: () => edit(token) },
    { label: t('clients.expire'), act: () => expire(token), isOff: token.expired },
    { label: t('clients.revoke'), act: () => revoke(token), isDanger: true },
  ]
  return (
    <section class="card table-scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th>{t('clients.name')}</th>
            <th>{t('clients.scope')}</th>
            <th>{t('clients.limits')}</th>
            <th class="right">{t('chart.requests')}</th>
            <th class="right">{t('chart.tokens')}</th>
            <th>{t('clients.expires')}</th>
            <th>{t('keys.last_used')}</th>
            <th>
              <span class="sr-only">{t('keys.more')}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {tokens.map(token => (
            <tr key={token.id}>
              <td>
                <Link to="/logs" query={{ token: token.name }}>
                  <bdi>{token.name}</bdi>
                </Link>
                <div class="muted small">{token.provisioned ? t('origin.file') : t('origin.console')}</div>
              </td>
              <td>
                <Scope token={token} />
              </td>
              <td>
                <Limits token={token} />
              </td>
              <td class="right num">
                {count(token.requests, lang.value)}
                {token.refused > 0 && (
                  <div class="muted small">
                    {t('clients.refused', { n: count(token.refused, lang.value) })}
                  </div>
                )}
              </td>
              <td class="right num">
                {count(token.tokens_in + token.tokens_out, lang.value)}
                {token.budget === null && token.spent.month > 0 && (
                  <div class="muted small">
                    {t('clients.cost', { cost: token.spent.month.toFixed(2), per: t('clients.month') })}
                  </div>
                )}
              </td>
              <td>
                {token.expired && <span class="badge disabled">{t('clients.expired')}</span>}{' '}
                {token.expires === null ? t('clients.never') : <Moment at={token.expires} />}
              </td>
              <td>
                <Moment at={token.last_used} />
              </td>
              <td>
                {may('admin') && !token.provisioned && (
                  <Menu label={t('keys.actions', { name: token.name })} items={items(token)}>
                    ⋯
                  </Menu>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Scope({ token }: { token: Token }) {
  return (
    <>
      <div>{token.pools.length ? token.pools.join(', ') : t('clients.all_pools')}</div>
      {token.models.length > 0 && (
        <div class="muted small mono">
          <bdi>{token.models.join(', ')}</bdi>
        </div>
      )}
    </>
  )
}

function Limits({ token }: { token: Token }) {
  const set = LIMITS.flatMap(name => (token[name] === null ? [] : [[name, token[name]] as const]))
  const { budget, spent } = token
  if (set.length === 0 && budget === null) return <span class="muted">–</span>
  return (
    <>
      {set.map(([name, value]) => (
        <div key={name} class="small num">
          {t(`clients.${name}`)}: {count(value, lang.value)}
        </div>
      ))}
      {budget && (
        <div class="small num">
          {t('clients.spent', {
            spent: spent[budget.per].toFixed(2),
            budget: budget.amount,
            per: t(`clients.${budget.per}`),
          })}
        </div>
      )}
    </>
  )
}

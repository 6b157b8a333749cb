/** The clients: which tokens there are, what each may do, and what was done with it. */
import { useEffect, useState } from 'preact/hooks'
import { get, patch, remove } from '../../api/client'
import type { CreatedToken, Page as PageOf, Token } from '../../api/types'
import { Confirm } from '../../components/Confirm'
import { Problem } from '../../components/Problem'
import { Some } from '../../components/Some'
import { Text } from '../../components/inputs'
import { t } from '../../i18n'
import { filter, param } from '../../router'
import { onNews } from '../../state/news'
import { useResource } from '../../state/resource'
import { may } from '../../state/session'
import { complain, say } from '../../state/toasts'
import { Secret } from './Secret'
import { TokenForm } from './TokenForm'
import { TokenTable } from './TokenTable'

const MOST = 1000

export function Page() {
  const q = param('q')
  const page = useResource(signal => get<PageOf<Token>>('/tokens', { q, limit: MOST }, signal), [q])
  const [edited, setEdited] = useState<Token | 'new'>()
  const [made, setMade] = useState<CreatedToken>()
  const [removed, setRemoved] = useState<Token>()
  useEffect(() => onNews(page.reload), [])
  const refresh = () => page.reload()
  /** There is no switch to turn a token off: it expires now, and what was said before comes back by undo. */
  const expire = async (token: Token, expires: string | null) => {
    try {
      await patch(`/tokens/${token.id}`, { expires })
      const back = token.expires
      if (expires !== back)
        say(t('clients.expired_now', { name: token.name }), () => void expire(token, back))
    } catch (error) {
      complain(error)
    }
    refresh()
  }
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.clients')}</h1>
        {may('admin') && (
          <button type="button" class="button primary" onClick={() => setEdited('new')}>
            {t('clients.add')}
          </button>
        )}
      </div>
      <div class="filters" role="search">
        <Text label={t('search')} class="wide" type="search" value={q ?? ''} set={q => filter({ q })} />
      </div>
      {page.error != null && <Problem error={page.error} retry={page.reload} />}
      {page.data?.items.length === 0 && <div class="empty">{t('clients.none')}</div>}
      {page.data && page.data.items.length > 0 && (
        <TokenTable
          tokens={page.data.items}
          edit={setEdited}
          expire={token => void expire(token, new Date().toISOString())}
          revoke={setRemoved}
        />
      )}
      {page.data && <Some shown={page.data.items.length} of={page.data.total} />}
      {edited && (
        <TokenForm
          token={edited === 'new' ? undefined : edited}
          onClose={() => setEdited(undefined)}
          done={(token, back) => {
            setEdited(undefined)
            if ('token' in token) setMade(token)
            else say(t('saved'), () => void patch(`/tokens/${token.id}`, back).then(refresh, complain))
            refresh()
          }}
        />
      )}
      {made && <Secret token={made} onClose={() => setMade(undefined)} />}
      {removed && (
        <Confirm
          title={t('clients.revoke')}
          word={removed.name}
          verb={t('clients.revoke')}
          act={async () => {
            await remove(`/tokens/${removed.id}`)
            say(t('clients.revoked', { name: removed.name }))
            refresh()
          }}
          onClose={() => setRemoved(undefined)}
        >
          {t('clients.revoke_text')}
        </Confirm>
      )}
    </>
  )
}

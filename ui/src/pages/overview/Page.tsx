/** Is it healthy, which keys rest, until when and why. */
import { useEffect } from 'preact/hooks'
import { get } from '../../api/client'
import type { Stats } from '../../api/types'
import { Link } from '../../components/Link'
import { Problem } from '../../components/Problem'
import { t } from '../../i18n'
import { onNews } from '../../state/news'
import { pools } from '../../state/pools'
import { useResource } from '../../state/resource'
import { may } from '../../state/session'
import { Page as Start } from '../start/Page'
import { Charts } from './Charts'
import { PoolTable } from './PoolTable'
import { Returns } from './Returns'
import { Tiles } from './Tiles'

export function Page() {
  const stats = useResource(signal => get<Stats>('/stats', {}, signal), [])
  useEffect(() => onNews(stats.reload), [])
  if (pools.value?.length === 0 && may('admin')) return <Start />
  const data = stats.data
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.overview')}</h1>
        {may('admin') && (
          <Link to="/keys" query={{ add: '1' }} class="button primary">
            {t('keys.add')}
          </Link>
        )}
      </div>
      {stats.error != null && <Problem error={stats.error} retry={stats.reload} />}
      {data && !data.store.up && <div class="notice warn">{t('overview.store_down')}</div>}
      <Tiles stats={data} />
      <div class="split">
        <Returns stats={data} />
        <PoolTable stats={data} />
      </div>
      <Charts />
    </>
  )
}

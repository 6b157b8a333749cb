/** The proxies keys leave by, how they do, and tests of them. */
import { useEffect, useState } from 'preact/hooks'
import { get, post, words } from '../../api/client'
import type { Egress, EgressFinding, Page as PageOf } from '../../api/types'
import { Moment } from '../../components/Moment'
import { PoolSelect } from '../../components/PoolSelect'
import { Problem } from '../../components/Problem'
import { Some } from '../../components/Some'
import { Text } from '../../components/inputs'
import { count, millis } from '../../format/number'
import { lang, t } from '../../i18n'
import { onNews } from '../../state/news'
import { chosen } from '../../state/pools'
import { useResource } from '../../state/resource'
import { may } from '../../state/session'

const MOST = 1000

async function check(pool: string, egress?: string): Promise<EgressFinding[]> {
  return (await post<{ items: EgressFinding[] }>('/egress/test', { pool, egress })).items
}

export function Page() {
  const page = useResource(signal => get<PageOf<Egress>>('/egress', { limit: MOST }, signal), [])
  useEffect(() => onNews(page.reload), [])
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.egress')}</h1>
        <button type="button" class="button" onClick={page.reload}>
          {t('refresh')}
        </button>
      </div>
      {page.error != null && <Problem error={page.error} retry={page.reload} />}
      {page.data?.items.length === 0 && <div class="empty">{t('egress.none')}</div>}
      {page.data?.items.map(egress => (
        <One key={`${egress.pool} ${egress.egress}`} egress={egress} tested={page.reload} />
      ))}
      {page.data && <Some shown={page.data.items.length} of={page.data.total} />}
      {may('operator') && page.data && <Other />}
    </>
  )
}

function One({ egress, tested }: { egress: Egress; tested: () => void }) {
  const test = useTest()
  return (
    <section class="card stack">
      <div class="row spread">
        <span class="row">
          <span class={`badge ${egress.state === 'up' ? 'ready' : 'disabled'}`}>
            {t(`target.${egress.state}`)}
          </span>
          <span class="mono">{egress.egress}</span>
          <span class="muted">{egress.pool}</span>
          <span class="muted num">
            {t('keys.count', { n: egress.keys, count: count(egress.keys, lang.value) })}
          </span>
        </span>
        <span class="row">
          {egress.milliseconds !== null && <span class="num">{millis(egress.milliseconds)}</span>}
          <Moment at={egress.last_check} />
          {may('operator') && (
            <button
              type="button"
              class="button"
              disabled={test.isBusy}
              onClick={() => void test.run(egress.pool, egress.egress).then(tested)}
            >
              {t('test')}
            </button>
          )}
        </span>
      </div>
      {egress.error && <p class="error">{egress.error}</p>}
      {test.shown}
    </section>
  )
}

/** A proxy nobody uses yet, tried before it is written anywhere. */
function Other() {
  const [wanted, setPool] = useState<string>()
  const pool = chosen(wanted)
  const [address, setAddress] = useState('')
  const test = useTest()
  const submit = (event: Event) => {
    event.preventDefault()
    if (pool !== undefined) void test.run(pool, address.trim())
  }
  return (
    <form class="card stack" onSubmit={submit}>
      <h2>{t('egress.try')}</h2>
      <div class="filters">
        <PoolSelect value={pool} set={setPool} />
        <Text
          label={t('egress.address')}
          class="wide"
          value={address}
          set={setAddress}
          placeholder="socks5://user:password@host:1080"
        />
        <button type="submit" class="button" disabled={address.trim() === '' || test.isBusy}>
          {t('test')}
        </button>
      </div>
      {test.shown}
    </form>
  )
}

function useTest() {
  const [findings, setFindings] = useState<EgressFinding[]>([])
  const [error, setError] = useState('')
  const [isBusy, setBusy] = useState(false)
  const run = async (pool: string, egress: string) => {
    setBusy(true)
    setError('')
    try {
      setFindings(await check(pool, egress))
    } catch (failure) {
      setFindings([])
      setError(words(failure))
    }
    setBusy(false)
  }
  const shown = (
    <div role="status">
      {isBusy && t('working')}
      {!isBusy && error && <span class="error">{error}</span>}
      {!isBusy &&
        findings.map(({ egress, ok, status, error, milliseconds }) => (
          <div key={egress} class={ok ? '' : 'error'}>
            {ok ? t('egress.works') : error} {status} <span class="num">({millis(milliseconds)})</span>
          </div>
        ))}
    </div>
  )
  return { run, isBusy, shown }
}

/** Which page is at which path. Each is loaded when it is first opened. */
import { type Signal, signal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import { on } from '../api/events'
import { Problem } from '../components/Problem'
import { t, type Word } from '../i18n'
import { path } from '../router'
import type { Role } from '../state/session'
import { may } from '../state/session'

interface Page {
  path: string
  /** Reached from other pages only. */
  isHidden?: boolean
  title: Word
  role: Role
  load: () => Promise<{ Page: ComponentType }>
}

export const PAGES: Page[] = [
  { path: '/', title: 'nav.overview', role: 'viewer', load: () => import('./overview/Page') },
  {
    path: '/start',
    title: 'start.title',
    role: 'admin',
    isHidden: true,
    load: () => import('./start/Page'),
  },
  { path: '/keys', title: 'nav.keys', role: 'viewer', load: () => import('./keys/Page') },
  { path: '/pools', title: 'nav.pools', role: 'viewer', load: () => import('./pools/Page') },
  { path: '/why', title: 'nav.why', role: 'viewer', load: () => import('./why/Page') },
  { path: '/lab', title: 'nav.lab', role: 'operator', load: () => import('./lab/Page') },
  { path: '/logs', title: 'nav.logs', role: 'viewer', load: () => import('./logs/Page') },
  { path: '/clients', title: 'nav.clients', role: 'viewer', load: () => import('./clients/Page') },
  { path: '/egress', title: 'nav.egress', role: 'viewer', load: () => import('./egress/Page') },
  { path: '/settings', title: 'nav.settings', role: 'viewer', load: () => import('./settings/Page') },
  { path: '/audit', title: 'nav.audit', role: 'viewer', load: () => import('./audit/Page') },
]

type Loaded = ComponentType | { error: unknown } | undefined

const loaded = new Map<Page, Signal<Loaded>>()

function loadedOf(page: Page): Signal<Loaded> {
  const known = loaded.get(page)
  if (known) return known
  const fresh = signal<Loaded>(undefined)
  loaded.set(page, fresh)
  const load = () =>
    void page.load().then(
      module => {
        fresh.value = module.Page
      },
      (error: unknown) => {
        fresh.value = { error }
        const stop = on('lost', () => {
          stop()
          load()
        })
      },
    )
  load()
  return fresh
}

/** The page at the current path; below `/pools` is a page's own affair. */
export function pageAt(at: string): Page | undefined {
  return PAGES.find(page => page.path === at || (page.path !== '/' && at.startsWith(`${page.path}/`)))
}

export function PageOf() {
  const page = pageAt(path.value)
  const title = page ? t(page.title) : t('missing.title')
  useEffect(() => {
    document.title = `${title} · keyweir`
  }, [title])
  if (!page || !may(page.role)) {
    return <div class="empty">{page ? t('missing.role', { role: page.role }) : t('missing.text')}</div>
  }
  const Found = loadedOf(page).value
  if (Found === undefined) return null
  if ('error' in Found) return <Problem error={Found.error} retry={() => window.location.reload()} />
  return <Found />
}

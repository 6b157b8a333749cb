/** What stands around every page: the way to the others, who is here, and whether the server is heard. */
import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { link } from '../api/events'
import { t, tell } from '../i18n'
import { PAGES, pageAt } from '../pages'
import { path } from '../router'
import { logout, may, session } from '../state/session'
import { complain } from '../state/toasts'
import { Link } from './Link'
import { Preferences } from './Preferences'

export function Shell({ children }: { children: ComponentChildren }) {
  const isOpen = useSignal(false)
  const main = useRef<HTMLElement>(null)
  useEffect(() => {
    isOpen.value = false
  }, [path.value])
  return (
    <div class="shell">
      <a
        class="skip button"
        href="#main"
        onClick={event => {
          event.preventDefault()
          main.current?.focus()
        }}
      >
        {t('skip')}
      </a>
      <header class="top">
        <Brand />
        <button
          type="button"
          class="button quiet icon"
          aria-label={t('menu')}
          aria-expanded={isOpen.value}
          onClick={() => {
            isOpen.value = !isOpen.value
          }}
        >
          ☰
        </button>
      </header>
      <Side isOpen={isOpen.value} />
      <main id="main" ref={main} class="main" tabIndex={-1} onClick={() => (isOpen.value = false)}>
        <Lost />
        {children}
      </main>
    </div>
  )
}

function Brand() {
  return (
    <Link to="/" class="brand">
      <img src={`${import.meta.env.BASE_URL}icon.svg`} width="26" height="26" alt="" />
      keyweir
    </Link>
  )
}

function Side({ isOpen }: { isOpen: boolean }) {
  const here = pageAt(path.value)
  return (
    <div class={isOpen ? 'side open' : 'side'}>
      <Brand />
      <nav aria-label={t('menu')}>
        <ul>
          {PAGES.filter(page => !page.isHidden && may(page.role)).map(page => (
            <li key={page.path}>
              <Link to={page.path} aria-current={page === here ? 'page' : undefined}>
                {t(page.title)}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <footer>
        <Preferences />
        <div class="row spread">
          <span class="truncate grow">
            <bdi>{session.value?.name}</bdi>
            <span class="muted small"> · {tell('role', session.value?.role ?? '')}</span>
          </span>
          <button
            type="button"
            class="button quiet"
            onClick={() => logout().catch(() => complain(t('error.unreachable')))}
          >
            {t('logout')}
          </button>
        </div>
      </footer>
    </div>
  )
}

/** The server is away. */
export function Lost() {
  return link.value === 'lost' ? (
    <div class="link-lost" role="status">
      {t('link.lost')}
    </div>
  ) : null
}

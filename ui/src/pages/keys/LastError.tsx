/** What the provider said to a key last, and the rule that judged it. */
import type { KeyFailure } from '../../api/types'
import { Link } from '../../components/Link'
import { Moment } from '../../components/Moment'
import { t } from '../../i18n'
import { Words } from '../lab/Words'

export function wordsOf({ code, type, message }: KeyFailure): string {
  return [code, type, message].filter(Boolean).join(' · ')
}

export function LastError({ pool, failure }: { pool: string; failure: KeyFailure }) {
  return (
    <section class="notice warn stack">
      <div class="row spread">
        <strong>{t('keys.last_error')}</strong>
        <span class="muted small">
          <Moment at={failure.time} />
        </span>
      </div>
      <span>
        <span class="num">{failure.status}</span> <bdi>{wordsOf(failure)}</bdi>
      </span>
      <Words verdict={failure.verdict} />
      <Link to="/lab" query={{ pool }}>
        {t('nav.lab')}
      </Link>
    </section>
  )
}

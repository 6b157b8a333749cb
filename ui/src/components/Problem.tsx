/** What went wrong, in the server's words, and a way to try again. */
import { words } from '../api/client'
import { t } from '../i18n'

export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  return (
    <div class="notice bad row spread" role="alert">
      <span>{words(error)}</span>
      {retry && (
        <button type="button" class="button" onClick={retry}>
          {t('retry')}
        </button>
      )}
    </div>
  )
}

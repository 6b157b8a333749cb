/** The text of a new token: shown this once. */
import type { CreatedToken } from '../../api/types'
import { Code } from '../../components/Code'
import { Dialog } from '../../components/Dialog'
import { t } from '../../i18n'

export function Secret({ token, onClose }: { token: CreatedToken; onClose: () => void }) {
  return (
    <Dialog title={<bdi>{token.name}</bdi>} onClose={onClose} firm>
      <p class="notice warn">{t('clients.once')}</p>
      <Code text={token.token} label={t('clients.token')} />
      <div class="actions">
        <button type="button" class="button primary" onClick={onClose}>
          {t('clients.kept')}
        </button>
      </div>
    </Dialog>
  )
}

/** Removes one key; it can be brought back at once, and for seven days. */
import { Confirm } from '../../components/Confirm'
import { t } from '../../i18n'
import { complain, say } from '../../state/toasts'
import { removeOne, restore } from './actions'
import type { Row } from './rows'

export function RemoveKey({ row, onClose, done }: { row: Row; onClose: () => void; done: () => void }) {
  const act = async () => {
    await removeOne(row.id)
    done()
    say(t('done.remove', { name: row.name }), () => void restore(row.id).then(done, complain))
  }
  return (
    <Confirm title={t('keys.remove_title')} word={row.name} verb={t('remove')} act={act} onClose={onClose}>
      {t('keys.remove_text')}
    </Confirm>
  )
}

/** Long work: how far it is, and a way to stop it. */
import { count } from '../format/number'
import { lang, t } from '../i18n'
import { Dialog } from './Dialog'

interface Props {
  title: string
  progress: { done: number; total: number | undefined }
  cancel: () => void
}

export function JobDialog({ title, progress: { done, total }, cancel }: Props) {
  return (
    <Dialog title={title} onClose={cancel} firm>
      <progress aria-label={title} max={total ?? 1} value={total === undefined ? undefined : done} />
      <div class="row spread">
        <span class="num">
          {total === undefined ? '…' : `${count(done, lang.value)} / ${count(total, lang.value)}`}
        </span>
        <button type="button" class="button" onClick={cancel}>
          {t('cancel')}
        </button>
      </div>
    </Dialog>
  )
}

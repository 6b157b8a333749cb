/** The server's settings that can be changed while it runs. */
import { t } from '../../i18n'
import { Editor } from './Editor'

export function Page() {
  return (
    <>
      <h1>{t('nav.settings')}</h1>
      <Editor path="/settings" />
    </>
  )
}

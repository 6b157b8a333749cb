/** When something was: relative, with the exact time on hover. */
import { exact, relative } from '../format/time'
import { lang } from '../i18n'
import { now } from '../state/clock'

export function Moment({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="muted">–</span>
  const time = Date.parse(at)
  return (
    <time dateTime={at} title={exact(time, lang.value)}>
      {relative(time, now.value, lang.value)}
    </time>
  )
}

/** When something was: relative, with the exact time on hover. */
import { useComputed } from '@preact/signals'
import { exact, relative } from '../format/time'
import { lang } from '../i18n'
import { now } from '../state/clock'

export function Moment({ at }: { at: string | null | undefined }) {
  return at ? <Told key={at} at={at} /> : <span class="muted">–</span>
}

function Told({ at }: { at: string }) {
  const time = Date.parse(at)
  // Most seconds change no word.
  const text = useComputed(() => relative(time, now.value, lang.value))
  return (
    <time dateTime={at} title={exact(time, lang.value)}>
      {text.value}
    </time>
  )
}

/** `back in 00:41`, counting. */
import { countdown, exact } from '../format/time'
import { lang, t } from '../i18n'
import { now } from '../state/clock'

export function Countdown({ until }: { until: number }) {
  const left = (until - now.value) / 1000
  return (
    <span class="muted num small" title={exact(until, lang.value)}>
      {t('back_in', { time: countdown(left) })}
    </span>
  )
}

/**
 * When something shown is worth reading again.
 *
 * Counters come every second, and looking at every key costs the server something: so only if they tell of news, and
 * then not at each of them. An open console must not be felt.
 */
import { on } from '../api/events'

/** How often, while something happens and while nothing does (ms). */
const BUSY = 4500
const QUIET = 30_000

/** Calls until what is returned is called. */
export function onNews(act: () => void): () => void {
  let [seen, asked] = ['', Date.now()]
  const stops = [
    on('counters', ({ pools }) => {
      const news = JSON.stringify(pools)
      if (document.hidden || Date.now() - asked < (news === seen ? QUIET : BUSY)) return
      ;[seen, asked] = [news, Date.now()]
      act()
    }),
    on('lost', act),
    on('reload', act),
  ]
  return () => stops.forEach(stop => stop())
}

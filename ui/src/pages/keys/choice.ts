/** The keys that are chosen: some, or all that fit the filter. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Rows } from './rows'

export interface Choice {
  ids: Set<string>
  isAll: boolean
  has: (id: string) => boolean
  choose: (index: number, id: string, isChosen: boolean, withShift: boolean) => void
  chooseAll: (isAll: boolean) => void
  clear: () => void
}

export function useChoice(rows: Rows, key: string): Choice {
  const [ids, setIds] = useState<Set<string>>(new Set())
  const [isAll, setAll] = useState(false)
  const last = useRef<number | undefined>(undefined)
  const clear = () => {
    setIds(new Set())
    setAll(false)
    last.current = undefined
  }
  useEffect(clear, [key])
  return {
    ids,
    isAll,
    has: id => isAll || ids.has(id),
    choose: (index, id, isChosen, withShift) => {
      const next = new Set(ids)
      const from = withShift ? (last.current ?? index) : index
      for (let at = Math.min(from, index); at <= Math.max(from, index); at += 1) {
        const one = at === index ? id : rows.at(at)?.id
        if (one === undefined) continue
        if (isChosen) next.add(one)
        else next.delete(one)
      }
      last.current = index
      setAll(false)
      setIds(next)
    },
    chooseAll: isAll => {
      setIds(new Set())
      setAll(isAll)
    },
    clear,
  }
}

/** What is said of a key, changed by more than one perhaps: the second is told, and what was typed stays. */
import { useState } from 'preact/hooks'
import { isStale, words } from '../../api/client'
import type { Key } from '../../api/types'
import { t } from '../../i18n'
import { complain, say } from '../../state/toasts'
import { change, read } from './actions'

export interface Saving {
  error: string
  save: (patch: Record<string, unknown>) => Promise<void>
}

/** `theirs` tells what somebody else wrote meanwhile. */
export function useSaving(row: Key, saved: (key: Key) => void, theirs: (now: Key) => string): Saving {
  const [error, setError] = useState('')
  const save = async (patch: Record<string, unknown>) => {
    try {
      saved(await change(row.id, patch, row.version))
      setError('')
      say(t('saved'))
    } catch (failure) {
      setError(words(failure))
      if (!isStale(failure)) return
      await read(row.id).then(now => {
        saved(now)
        setError(t('keys.stale', { now: theirs(now) }))
      }, complain)
    }
  }
  return { error, save }
}

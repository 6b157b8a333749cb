/** What adding a text would do, asked of the server while it is looked at. */
import { useEffect, useState } from 'preact/hooks'
import { ask, isAbort, url, words } from '../../api/client'
import type { ImportReport } from '../../api/types'

/** Time without typing after which the server is asked (ms). */
const PAUSE = 400

export const importPath = (pool: string, dry_run?: true) =>
  url(`/pools/${encodeURIComponent(pool)}/keys/import`, { dry_run })

export interface Preview {
  report: ImportReport | undefined
  error: string
}

export function usePreview(pool: string, text: string): Preview {
  const [preview, setPreview] = useState<Preview>({ report: undefined, error: '' })
  useEffect(() => {
    setPreview({ report: undefined, error: '' })
    if (text.trim() === '') return
    const abort = new AbortController()
    const timer = window.setTimeout(() => {
      ask<ImportReport>('POST', importPath(pool, true), { body: text, signal: abort.signal }).then(
        report => setPreview({ report, error: '' }),
        (failure: unknown) => {
          if (!isAbort(failure)) setPreview({ report: undefined, error: words(failure) })
        },
      )
    }, PAUSE)
    return () => {
      window.clearTimeout(timer)
      abort.abort()
    }
  }, [pool, text])
  return preview
}

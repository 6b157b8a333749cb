/**
 * Something read from the server: what was read stays in sight while it is read again. What could not be read is read when
 * the server is back.
 */
import { useEffect, useRef, useState } from 'preact/hooks'
import { isAbort } from '../api/client'
import { on } from '../api/events'

export interface Resource<T> {
  data: T | undefined
  error: unknown
  reload: () => void
  /** Shows something before the server has said it. */
  set: (data: T) => void
}

export function useResource<T>(load: (signal: AbortSignal) => Promise<T>, deps: unknown[]): Resource<T> {
  const [state, setState] = useState<{ data: T | undefined; error: unknown }>({
    data: undefined,
    error: null,
  })
  const [turn, setTurn] = useState(0)
  const latest = useRef(load)
  latest.current = load
  useEffect(() => {
    const abort = new AbortController()
    latest.current(abort.signal).then(
      data => {
        if (!abort.signal.aborted) setState({ data, error: null })
      },
      (error: unknown) => {
        if (!abort.signal.aborted && !isAbort(error)) setState(was => ({ data: was.data, error }))
      },
    )
    return () => abort.abort()
  }, [...deps, turn])
  const hasFailed = state.error !== null
  useEffect(() => {
    if (!hasFailed) return
    return on('lost', () => setTurn(turn => turn + 1))
  }, [hasFailed])
  return {
    ...state,
    reload: () => setTurn(turn => turn + 1),
    set: data => setState({ data, error: null }),
  }
}

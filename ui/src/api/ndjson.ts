/** Answers of one JSON value a line, which tell how far long work is. */
import { ApiError, type Options, send } from './client'

const KIND = 'application/x-ndjson'

/** Whole lines of what came in pieces; the rest waits for more. */
export class Lines {
  #rest = ''

  take(piece: string): string[] {
    const lines = (this.#rest + piece).split('\n')
    this.#rest = lines.pop() ?? ''
    return lines.filter(line => line.trim() !== '')
  }

  end(): string[] {
    const rest = this.#rest
    this.#rest = ''
    return rest.trim() === '' ? [] : [rest]
  }
}

/** Sends, tells each line as it comes, and returns the last. */
export async function stream<T>(path: string, options: Options, told: (line: T) => void): Promise<T> {
  const headers = { ...options.headers, accept: KIND }
  const response = await send('POST', path, { ...options, headers })
  if (!response.headers.get('content-type')?.startsWith(KIND) || response.body === null) {
    return (await response.json()) as T
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const lines = new Lines()
  let last: T | undefined
  const take = (texts: string[]) => {
    for (const text of texts) {
      last = JSON.parse(text) as T
      check(last)
      told(last)
    }
  }
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    take(lines.take(value))
  }
  take(lines.end())
  if (last === undefined) throw new ApiError(0, 'broken', 'the answer ended before it began')
  return last
}

/** The status was sent before anything could go wrong, so what does is told in a line. */
function check(line: unknown) {
  const { error, code } = line as { error?: unknown; code?: unknown }
  if (typeof error === 'string' && typeof code === 'string') throw new ApiError(500, code, error)
}

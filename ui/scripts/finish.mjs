// After `vite build`: compresses what the server hands out as it is, and refuses a console that grew too large.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const DIST = new URL('../dist/', import.meta.url).pathname
const LARGEST = 90 * 1024

const files = readdirSync(DIST, { recursive: true }).filter(
  name => statSync(join(DIST, name)).isFile() && !/\.(br|gz)$/.test(name),
)
let total = 0
for (const name of files) {
  const path = join(DIST, name)
  const text = readFileSync(path)
  const gzip = gzipSync(text, { level: 9 })
  const brotli = brotliCompressSync(text, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: text.length },
  })
  writeFileSync(`${path}.gz`, gzip)
  writeFileSync(`${path}.br`, brotli)
  total += gzip.length
  console.log(`${String(gzip.length).padStart(7)}  ${name}`)
}
console.log(`${String(total).padStart(7)}  bytes gzipped in all, of ${LARGEST}`)
if (total > LARGEST) {
  console.error('The console is too large.')
  process.exit(1)
}

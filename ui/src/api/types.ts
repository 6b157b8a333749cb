/** The admin API's shapes, as the console reads them. */

export type KeyState = 'ready' | 'cooling' | 'disabled'
export type StateCounts = Record<KeyState, number>

export interface Page<T> {
  items: T[]
  total: number
  next_cursor: string | null
}

export interface Target {
  target: string
  state: 'up' | 'down'
  error: string | null
  last_check: string | null
}

export interface Pool {
  name: string
  default: boolean
  keys: StateCounts
  enabled: boolean
  provider: string
  paths: string[]
  targets: Target[]
  provisioned: boolean
}

export interface Key {
  id: string
  name: string
  pool?: string
  state: KeyState
  reason: string | null
  /** Seconds. */
  back_in: number | null
  requests: number
  in_flight: number
  last_used: string | null
  recheck_at: string | null
  attempts: Record<string, number>
  hint?: string
  account?: string | null
  weight?: number
  priority?: number
  provisioned?: boolean
  note?: string | null
  created_at?: string | null
}

export interface KeyEvent {
  pool: string
  key: string
  id: string
  state: KeyState
  reason: string | null
  back_in: number | null
}

export interface Totals {
  requests: number
  outcomes: Record<string, number>
  tokens_in: number
  tokens_out: number
}

export interface PoolCounters extends Totals {
  name: string
  in_flight: number
  keys: StateCounts
}

export interface Counters {
  time: string
  pools: PoolCounters[]
}

/** Seconds; `null` where nothing was measured. */
export interface Spread {
  mean: number | null
  p50: number | null
  p99: number | null
}

export interface Recent extends Totals {
  window_seconds: number
  requests_per_minute: number
  success_rate: number | null
  duration_seconds: Spread
  first_byte_seconds: Spread
  in_flight: number
  keys: StateCounts
}

export interface NextReturn {
  pool: string
  key: string
  id: string
  reason: string | null
  back_in: number
  back_at: string | null
}

export interface Stats extends Recent {
  since_start: Totals
  next_returns: NextReturn[]
  pools: (Recent & { name: string })[]
  store: { up: boolean; down_since: string | null; pending: number; dropped: number }
  time: string
}

export type Range = '1h' | '24h' | '7d' | '30d'

export interface Use {
  requests: number
  failures: number
  tokens_in: number
  tokens_out: number
  mean_ms: number | null
}

export interface Minute extends Totals {
  time: string
  success_rate: number | null
  duration_seconds: Spread
  first_byte_seconds: Spread
}

export interface Series extends Use {
  from: string
  until: string
  step_seconds: number
  points: (Use & { time: string })[]
  names?: (Use & { name: string })[]
  minutes?: Minute[]
}

export interface Attempt {
  key: string
  target?: string
  result: string
  status?: number | null
  rule?: string | null
  /** Milliseconds. */
  ms?: number
}

export interface LogEntry {
  id: string
  time: string
  request_id: string
  client: string | null
  token: string | null
  method: string
  path: string
  pool: string | null
  key: string | null
  key_id: string | null
  model: string | null
  status: number
  outcome: string
  error: string | null
  attempts: number
  trail: Attempt[]
  trail_omitted: number
  bytes_in: number
  bytes_out: number
  tokens_in: number | null
  tokens_out: number | null
  duration_ms: number
  first_byte_ms: number | null
  has_body?: boolean
  body?: string | null
  same_id?: number
}

export interface LogPage {
  items: LogEntry[]
  next_cursor: string | null
}

export interface AuditEntry {
  id: string
  time: string
  actor: string
  address: string | null
  action: string
  subject: string
  details: unknown
}

export interface Token {
  id: string
  name: string
  provisioned: boolean
  created_at: string | null
  reveal_key: boolean
  /** None = all. */
  pools: string[]
  models: string[]
  rpm: number | null
  tpm: number | null
  rpd: number | null
  concurrency: number | null
  budget: { amount: number; per: 'day' | 'month' } | null
  spent: { day: number; month: number }
  expires: string | null
  expired: boolean
  in_flight: number
  requests: number
  refused: number
  tokens_in: number
  tokens_out: number
  last_used: string | null
  /** Only in the answer to adding it. */
  token?: string
}

export interface Egress {
  pool: string
  egress: string
  state: 'up' | 'down'
  keys: number
  failures: number
  error: string | null
  last_check: string | null
  milliseconds: number | null
}

export interface EgressFinding {
  egress: string
  ok: boolean
  status: number | null
  error: string | null
  milliseconds: number
}

export type Origin = 'default' | 'file' | 'console'

export interface Setting {
  value: unknown
  origin: Origin
  /** The words it may be; none = whatever fits. */
  choices?: string[]
}

export interface Settings {
  settings: Record<string, Setting>
  version: number
}

/** A verdict in the words of `keyweir verdict`. */
export interface Verdict {
  rule: string
  key: string
  scope: string | null
  until: number | null
  retry: string
}

export interface Failure {
  id: string
  time: string
  request_id: string
  key: string
  target: string
  model: string
  status: number | null
  in_band: boolean
  code: string | null
  type: string | null
  message: string | null
  rule: string
  verdict: Verdict
  shadow: Verdict | null
  headers: Record<string, string>
  body: string
}

export interface Replayed extends Omit<Failure, 'rule' | 'verdict' | 'shadow' | 'headers' | 'body'> {
  was: Verdict
  becomes: Verdict
  changed: boolean
}

export interface Replay {
  replayed: number
  changed: number
  items: Replayed[]
}

export interface Judgement extends Verdict {
  reason: string | null
  certain: boolean
  shadow: Verdict | null
  answer: {
    is_error: boolean
    status: number | null
    code: string | null
    type: string | null
    message: string | null
  }
}

export interface Chance {
  name: string
  state: KeyState
  blocked_by: string | null
  reason: string | null
  ready_in: number | null
  ready_at: string | null
  last_for: number | null
}

export interface Explanation extends Page<Chance> {
  pool: string
  model: string | null
  keys: StateCounts
  ready_in: number | null
}

export interface BadLine {
  line: number
  error: string
}

export interface ImportReport {
  format: string
  total: number
  added: number
  duplicates: number
  failed: number
  bad: BadLine[]
  done?: number
}

export interface BulkReport {
  matched: number
  changed: number
  failed?: { id: string; error: string }[]
  provisioned?: number
}

export interface Reload {
  time: string
  trigger: string
  ok: boolean
  message: string
  warnings?: string[]
  restart_required?: string[]
  errors?: string[]
}

export interface About {
  version: string
  default_pool: string | null
  anonymous: boolean
  proxy: { address: string; port: number; tls: boolean }[]
}

export interface Provider {
  name: string
  base_urls: string[]
  probe: boolean
  balance: boolean
}

/** The admin API's shapes by the names the console has for them; what they are is generated from the server. */
import type { components } from './schema'

type Schemas = components['schemas']

export interface Page<T> {
  items: T[]
  total: number
  next_cursor: string | null
}

export type KeyState = Schemas['KeyState']
export type StateCounts = Schemas['KeyCounts']
export type Pool = Schemas['Pool']
export type KeyEvent = Schemas['KeyEvent']
export type Counters = Schemas['Counters']
export type Spread = Schemas['Times']
export type Stats = Schemas['Overview']
export type Range = Schemas['Range']
export type Minute = Schemas['Minute']
export type Series = Schemas['Series']
export type Attempt = Schemas['Attempt']
export type LogEntry = Schemas['LogRow']
export type LoggedRequest = Schemas['LogEntry']
export type LogPage = Schemas['LogPage']
export type AuditLine = Schemas['AuditLine']
export type Token = Schemas['ClientToken']
export type CreatedToken = Schemas['CreatedToken']
export type Egress = Schemas['Egress']
export type EgressFinding = Schemas['EgressFinding']
export type Setting = Schemas['Setting']
export type Settings = Schemas['Settings']
export type Verdict = Schemas['Verdict']
export type Failure = Schemas['Failure']
export type Replay = Schemas['Replay']
export type Judgement = Schemas['Judged']
export type ImportReport = Schemas['ImportReport']
export type ImportLine = ImportReport & Partial<Schemas['ImportProgress']>
export type Session = Schemas['SessionInfo']
export type About = Schemas['About']
export type Provider = Schemas['Provider']

export type Key = Schemas['Key']
export type KeyFailure = Schemas['KeyFailure']
export type Use = Schemas['Use']
export type Balance = NonNullable<Key['balance']>
export type KeyTest = Schemas['KeyTest']
export type Explanation = Schemas['Explanation']
/** What was done to many keys. */
export type BulkReport = Schemas['BulkDone']

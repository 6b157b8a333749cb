/** Requests as they were logged, and what each attempt of one came to. */
import { useState } from 'preact/hooks'
import { get } from '../../api/client'
import type { LogEntry, LogPage } from '../../api/types'
import { Dialog } from '../../components/Dialog'
import { Moment } from '../../components/Moment'
import { Problem } from '../../components/Problem'
import { Select, Text } from '../../components/inputs'
import { millis } from '../../format/number'
import { t, tell } from '../../i18n'
import { filter, param } from '../../router'
import { useResource } from '../../state/resource'

const OUTCOMES = ['ok', 'client_error', 'provider_error', 'exhausted', 'rejected', 'cancelled', 'broken']
const FILTERS = ['outcome', 'status', 'model', 'key', 'q'] as const

export function Page() {
  const query = Object.fromEntries(FILTERS.map(name => [name, param(name)]))
  const page = useResource(signal => get<LogPage>('/logs', query, signal), Object.values(query))
  const [shown, setShown] = useState<LogEntry>()
  const text = (name: (typeof FILTERS)[number], label: string) => (
    <Text key={name} label={label} value={param(name) ?? ''} set={value => filter({ [name]: value })} />
  )
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.logs')}</h1>
        <button type="button" class="button" onClick={page.reload}>
          {t('refresh')}
        </button>
      </div>
      <div class="filters">
        <Select
          label={t('logs.outcome')}
          value={param('outcome') ?? ''}
          set={outcome => filter({ outcome })}
          options={[
            ['', t('all')],
            ...OUTCOMES.map(word => [word, tell('outcome', word)] as [string, string]),
          ]}
        />
        {text('status', t('logs.status'))}
        {text('model', t('model'))}
        {text('key', t('key'))}
        {text('q', t('search'))}
      </div>
      {page.error != null && <Problem error={page.error} retry={page.reload} />}
      {page.data?.items.length === 0 && <div class="empty">{t('logs.none')}</div>}
      {page.data && page.data.items.length > 0 && <Table items={page.data.items} open={setShown} />}
      {shown && <Detail entry={shown} onClose={() => setShown(undefined)} />}
    </>
  )
}

function Table({ items, open }: { items: LogEntry[]; open: (entry: LogEntry) => void }) {
  return (
    <section class="card table-scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th>{t('logs.time')}</th>
            <th>{t('logs.request')}</th>
            <th>{t('logs.outcome')}</th>
            <th class="right">{t('logs.attempts')}</th>
            <th class="right">{t('logs.duration')}</th>
          </tr>
        </thead>
        <tbody>
          {items.map(entry => (
            <tr key={entry.id}>
              <td>
                <Moment at={entry.time} />
              </td>
              <td>
                <button type="button" class="button quiet mono" onClick={() => open(entry)}>
                  {entry.request_id}
                </button>{' '}
                <bdi class="muted">{entry.model}</bdi>
              </td>
              <td>
                {entry.status} {tell('outcome', entry.outcome)}
              </td>
              <td class="right num">{entry.attempts}</td>
              <td class="right num">{millis(entry.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Detail({ entry, onClose }: { entry: LogEntry; onClose: () => void }) {
  return (
    <Dialog title={entry.request_id} onClose={onClose} wide>
      <dl class="facts">
        <dt>{t('logs.request')}</dt>
        <dd class="mono">
          {entry.method} <bdi>{entry.path}</bdi>
        </dd>
        <dt>{t('logs.outcome')}</dt>
        <dd>
          {entry.status} {tell('outcome', entry.outcome)} {entry.error}
        </dd>
        <dt>{t('logs.client')}</dt>
        <dd>
          <bdi>{[entry.token, entry.client].filter(Boolean).join(' · ')}</bdi>
        </dd>
      </dl>
      <h3>{t('logs.trail')}</h3>
      <ol class="trail">
        {entry.trail.map((attempt, at) => (
          <li key={at}>
            <span class="num">{at + 1}</span>
            <span>
              <bdi>{attempt.key}</bdi> · {tell('result', attempt.result)} {attempt.status}{' '}
              <span class="muted mono">{attempt.rule}</span>
            </span>
          </li>
        ))}
      </ol>
    </Dialog>
  )
}

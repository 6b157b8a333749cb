/** Which requests are shown; all of it is in the address, so that a view can be sent to somebody. */
import { useState } from 'preact/hooks'
import { PoolSelect } from '../../components/PoolSelect'
import { Select, Text } from '../../components/inputs'
import { t, tell, type Word } from '../../i18n'
import { filter, param } from '../../router'
import { toLocal } from '../clients/form'

const OUTCOMES = ['ok', 'client_error', 'provider_error', 'exhausted', 'rejected', 'cancelled', 'broken']
const TEXTS: [string, Word][] = [
  ['status', 'logs.status'],
  ['model', 'model'],
  ['key', 'key'],
  ['token', 'logs.token'],
  ['client', 'logs.address'],
  ['request_id', 'logs.id'],
]
const MORE = ['token', 'client', 'request_id', 'since', 'until']

export const FILTERS = ['pool', 'outcome', ...TEXTS.map(([name]) => name), 'since', 'until', 'q']

export function Filters() {
  const [isMore, setMore] = useState(MORE.some(name => param(name)))
  const text = ([name, label]: [string, Word]) => (
    <Text key={name} label={t(label)} value={param(name) ?? ''} set={value => filter({ [name]: value })} />
  )
  const moment = (name: 'since' | 'until') => (
    <Text
      label={t(`logs.${name}`)}
      type="datetime-local"
      value={toLocal(param(name) ?? null)}
      set={value => filter({ [name]: value === '' ? undefined : new Date(value).toISOString() })}
    />
  )
  return (
    <div class="filters" role="search">
      <PoolSelect value={param('pool')} set={pool => filter({ pool })} orAll />
      <Select
        label={t('logs.outcome')}
        value={param('outcome') ?? ''}
        set={outcome => filter({ outcome })}
        options={[['', t('all')], ...OUTCOMES.map(word => [word, tell('outcome', word)] as [string, string])]}
      />
      {TEXTS.slice(0, 3).map(text)}
      <Text
        label={t('search')}
        class="wide"
        type="search"
        value={param('q') ?? ''}
        set={q => filter({ q })}
      />
      <button type="button" class="button" aria-expanded={isMore} onClick={() => setMore(!isMore)}>
        {t('logs.more_filters')}
      </button>
      {isMore && (
        <>
          {TEXTS.slice(3).map(text)}
          {moment('since')}
          {moment('until')}
        </>
      )}
    </div>
  )
}

/** Which pool. */
import { t } from '../i18n'
import { pools } from '../state/pools'
import { Select } from './inputs'

interface Props {
  /** `undefined` = all of them, or none is known yet. */
  value: string | undefined
  set: (pool: string) => void
  /** All of them may be meant too. */
  orAll?: boolean
}

export function PoolSelect({ value, set, orAll }: Props) {
  const names = (pools.value ?? []).map(({ name }) => [name, name] as [string, string])
  const options: [string, string][] = orAll ? [['', t('all')], ...names] : names
  return <Select label={t('pool')} value={value ?? ''} set={set} options={options} />
}

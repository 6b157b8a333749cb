/** One of a few, all in sight. */
interface Props<T extends string> {
  label: string
  value: T
  set: (value: T) => void
  options: [value: T, label: string][]
}

export function Segments<T extends string>({ label, value, set, options }: Props<T>) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(([option, text]) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => set(option)}>
          {text}
        </button>
      ))}
    </div>
  )
}

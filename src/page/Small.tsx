/** Small parts that several others show. */
import type { Trust } from "../domain/Worker.ts"
import { percent, states, trusts } from "./Words.ts"

export const State = ({ state }: { state: string }) => {
  const { mark, tone } = states[state] ?? { mark: "?", tone: "warn" }
  return (
    <span class={`word ${tone}`}>
      <span aria-hidden="true">{mark}</span> {state}
    </span>
  )
}

export const TrustWord = ({ trust }: { trust: Trust | null }) => {
  if (trust === null) return <span class="quiet">–</span>
  const { mark, tone } = trusts[trust]!
  return (
    <span class={`word ${tone}`}>
      <span aria-hidden="true">{mark}</span> {trust}
    </span>
  )
}

/** A share as a bar, with its number beside it. */
export const Share = ({ share, tone = "own" }: { share: number | null; tone?: string }) => (
  <span class="share">
    <span class="number">{percent(share)}</span>
    <span class="bar" aria-hidden="true">
      <span class={`is-${tone}`} style={{ width: `${100 * Math.min(1, share ?? 0)}%` }} />
    </span>
  </span>
)

const [width, height] = [48, 20]

/** The last values, the newest at the right; its number stands beside it, so it says nothing to a screen reader. */
export const Sparkline = ({ values }: { values: ReadonlyArray<number> }) => {
  const most = Math.max(1, ...values)
  const step = width / Math.max(1, values.length - 1)
  const points = values.map(
    (value, i) => `${(i * step).toFixed(1)},${(height - 1 - (value / most) * (height - 3)).toFixed(1)}`
  )
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      {values.length > 1 && <polyline points={points.join(" ")} />}
    </svg>
  )
}

const grouped = /(\d{1,3}(?: \d{3})+(?: \w+)?)/

/** Words of the receipt, as they are; no line ends within a number, or before its unit. */
export const Told = ({ words }: { words: string }) => (
  <>{words.split(grouped).map((part, i) => (i % 2 === 0 ? part : <span class="whole">{part}</span>))}</>
)

/** Numbers and moments as people read them: grouped by thin spaces, each with its unit. A dash is what is not known. */

const gap = "\u202f"
const unknown = "–"

export const count = (value: number | null): string =>
  value === null ? unknown : String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, gap)

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${Math.round(value) === 1 ? one : many}`

export const tokens = (value: number | null): string => (value === null ? unknown : plural(value, "token"))

export const percent = (share: number | null): string =>
  share === null ? unknown : `${share > 0 && share < 0.01 ? "<\u202f1" : Math.round(share * 100)}${gap}%`

/** From microseconds to minutes, three digits at most. */
export const duration = (ms: number | null): string => {
  if (ms === null) return unknown
  const size = Math.abs(ms)
  if (size === 0) return `0${gap}ms`
  if (size < 0.1) return `${Math.round(ms * 1_000)}${gap}µs`
  if (size < 10) return `${Number(ms.toFixed(1))}${gap}ms`
  if (size < 1_000) return `${Math.round(ms)}${gap}ms`
  if (size < 60_000) return `${Number((ms / 1_000).toFixed(size < 10_000 ? 2 : 1))}${gap}s`
  const [minutes, seconds] = [Math.floor(ms / 60_000), Math.round((ms % 60_000) / 1_000)]
  return `${minutes}${gap}min${seconds === 0 ? "" : ` ${seconds}${gap}s`}`
}

export const perSecond = (value: number): string => `${value >= 10 ? count(value) : Number(value.toFixed(1))}${gap}/s`

export const clock = (at: string | number): string => {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? unknown : date.toLocaleTimeString("en-GB")
}

export const ago = (at: string, nowMs: number): string => {
  const ms = nowMs - Date.parse(at)
  if (!(ms >= 0)) return unknown
  if (ms < 60_000) return `${Math.round(ms / 1_000)}${gap}s ago`
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)}${gap}min ago`
  if (ms < 86_400_000) return `${Math.round(ms / 3_600_000)}${gap}h ago`
  return `${Math.round(ms / 86_400_000)}${gap}d ago`
}

/** Ids are long: random from the beginning, or numbered at the end. */
export const shortId = (id: string): string => (id.length <= 14 ? id : `${id.slice(0, 8)}…${id.slice(-4)}`)

/** A mark beside each state, so that colour says nothing alone. */
export const states: Readonly<Record<string, { readonly mark: string; readonly tone: "good" | "warn" | "bad" }>> = {
  joining: { mark: "◌", tone: "warn" },
  ready: { mark: "●", tone: "good" },
  suspect: { mark: "◐", tone: "warn" },
  open: { mark: "✕", tone: "bad" },
  halfOpen: { mark: "◑", tone: "warn" },
  draining: { mark: "▽", tone: "warn" }
}

export const trusts: Readonly<Record<string, { readonly mark: string; readonly tone: "good" | "warn" | "plain" }>> = {
  exact: { mark: "✓", tone: "good" },
  degraded: { mark: "!", tone: "warn" },
  approximate: { mark: "≈", tone: "plain" }
}

const outcomes: Readonly<Record<string, { readonly mark: string; readonly words: string; readonly tone: string }>> = {
  ok: { mark: "✓", words: "answered", tone: "good" },
  client_error: { mark: "?", words: "client error", tone: "warn" },
  worker_error: { mark: "✕", words: "worker error", tone: "bad" },
  missing: { mark: "∅", words: "no worker could take it", tone: "bad" },
  died: { mark: "†", words: "worker broke off", tone: "bad" },
  cancelled: { mark: "–", words: "client left", tone: "plain" }
}

/** Layers of the index by their number. */
export const layers = ["device", "host", "disk", "external", "guess"] as const

/** Of an outcome, of a newer router too. */
export const outcomeOf = (outcome: string) => outcomes[outcome] ?? { mark: "?", words: outcome, tone: "plain" }

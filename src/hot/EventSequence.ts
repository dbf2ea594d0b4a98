/**
 * EventSequence: one publisher's numbered batches, put in order, with every hole healed or admitted.
 *
 * A pure machine (no clock, no I/O): `step(state, input)` answers what to do, in order; when a replay may run is its
 * owner's to decide. It starts by replaying from 0 and applies live batches above what was replayed.
 *
 *   idle ──Connected──▶ replaying ──ReplayDone, nothing missing──▶ live ──gap, reconnect, Look──▶ replaying …
 *
 * While in doubt (a hole is open, or this may be another life) nothing live is applied. Batches heard before the replay
 * began need not be kept: its answer holds them. Those heard while it runs, or once it has failed, are held back, in
 * bounds, and what does not fit is found missing and asked for again.
 *
 * Numbers start at 0 in each life of the engine and a restart says nothing, so lives are told apart by fingerprints of
 * the last batches: a replay asks for the last batch we applied, too, and expects to see that very batch first.
 * What no replay brings back is lost: `Purge` (forget all of this publisher), then go on with what there is.
 */

/** Batches whose fingerprints are remembered: 12 bytes each. */
const window = 1_024
/** How late a batch may be that cannot be compared, before it means another life. */
const lateMax = 64

export type Input =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Disconnected" }
  | { readonly _tag: "Live"; readonly seq: number; readonly payload: Uint8Array }
  /** `id` names the replay it belongs to; those of an abandoned replay are ignored. Fed before its request is sent. */
  | { readonly _tag: "ReplayBegun"; readonly id: number }
  | { readonly _tag: "Replayed"; readonly id: number; readonly seq: number; readonly payload: Uint8Array }
  | { readonly _tag: "ReplayDone"; readonly id: number }
  | { readonly _tag: "ReplayFailed"; readonly id: number }
  /** Nothing was heard for a while: the last message may be the one that was lost. */
  | { readonly _tag: "Look" }
  /** Forget everything and go on from whatever comes. */
  | { readonly _tag: "Admit"; readonly why: string }
  /** Forget everything and read it again, where it can be. */
  | { readonly _tag: "Resync"; readonly why: string }

export type Output =
  | { readonly _tag: "Apply"; readonly seq: number; readonly payload: Uint8Array }
  | { readonly _tag: "Purge" }
  /** Ask the engine for `seq >= from`. `attempt` counts failures before it, for the same hole. Replaces an earlier one. */
  | { readonly _tag: "Replay"; readonly id: number; readonly from: number; readonly attempt: number }

export interface Options {
  /** The source has a replay address. */
  readonly replayable: boolean
  /** Live batches held back at most while a replay runs or has failed; more are dropped, and found missing later. */
  readonly heldMax: number
  readonly heldBytesMax: number
  /** Failed replays before a hole is admitted; once as many failed in a row, one more is enough for each later hole. */
  readonly attemptsMax: number
}

export interface State {
  readonly options: Options
  phase: "idle" | "replaying" | "live"
  connected: boolean
  /** Some batch was applied, or the engine said there is none. */
  started: boolean
  /** A hole is open, or it is not sure that this is still the same life. */
  doubt: boolean
  /** Why it is in doubt; kept when it is not. */
  why: string
  /** Every batch of this life has been applied. */
  complete: boolean
  /** Why it is not complete. */
  lostWhy: string
  /** Next number to apply. */
  next: number
  /** Where the stream goes on is not known: the next live batch says. */
  adrift: boolean
  readonly held: Map<number, Uint8Array>
  heldBytes: number
  /** Highest number heard and not applied; -1 for none. */
  awaited: number
  readonly printSeqs: Float64Array
  readonly prints: Int32Array
  // The replay under way.
  id: number
  from: number
  /** It was begun: its answer holds what was heard before, up to `target`. */
  begun: boolean
  target: number
  first: number
  /** The engine did not show our last batch: is it another life? */
  suspect: boolean
  same: boolean
  other: boolean
  /** It has a hole: its rest is not applied. */
  cut: boolean
  /** Number where the last hole inside a replay began; -1 for none. */
  cutAt: number
  attempt: number
  /** Replays failed in a row. */
  failures: number
  // Counters.
  gaps: number
  replays: number
  replayFailures: number
  purges: number
  restarts: number
  duplicates: number
  lost: number
}

export const make = (options: Options): State => ({
  options,
  phase: "idle",
  connected: false,
  started: false,
  doubt: false,
  why: "",
  complete: false,
  lostWhy: "joined late",
  next: 0,
  adrift: !options.replayable,
  held: new Map(),
  heldBytes: 0,
  awaited: -1,
  printSeqs: new Float64Array(window).fill(-1),
  prints: new Int32Array(window),
  id: 0,
  from: 0,
  begun: false,
  target: -1,
  first: -1,
  suspect: false,
  same: false,
  other: false,
  cut: false,
  cutAt: -1,
  attempt: 0,
  failures: 0,
  gaps: 0,
  replays: 0,
  replayFailures: 0,
  purges: 0,
  restarts: 0,
  duplicates: 0,
  lost: 0
})

/** FNV-1a of the ends of a payload and its length: the time stamp at its head alone tells two lives apart. */
const printOf = (payload: Uint8Array): number => {
  const { length } = payload
  let h = 0x811c_9dc5 ^ length
  const head = Math.min(length, 64)
  for (let i = 0; i < head; i++) h = Math.imul(h ^ payload[i]!, 0x0100_0193)
  for (let i = Math.max(head, length - 64); i < length; i++) h = Math.imul(h ^ payload[i]!, 0x0100_0193)
  return h
}

/** 1: the very batch applied under this number; -1: another one; 0: cannot say. */
const compare = (s: State, seq: number, payload: Uint8Array): -1 | 0 | 1 => {
  const at = seq % window
  if (s.printSeqs[at] !== seq) return 0
  return s.prints[at] === printOf(payload) ? 1 : -1
}

const apply = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  s.printSeqs[seq % window] = seq
  s.prints[seq % window] = printOf(payload)
  if (seq === 0) s.complete = true
  s.started = true
  s.adrift = false
  s.next = seq + 1
  out.push({ _tag: "Apply", seq, payload })
}

const purge = (s: State, next: number, why: string, out: Array<Output>): void => {
  s.purges++
  s.complete = false
  s.lostWhy = why
  s.next = next
  out.push({ _tag: "Purge" })
}

/** Admits that what lies before `seq` will not come. */
const skipTo = (s: State, seq: number, out: Array<Output>): void => {
  s.lost++
  purge(s, seq, `batches before ${seq} are lost`, out)
}

const dropHeld = (s: State): void => {
  s.held.clear()
  s.heldBytes = 0
}

/** A batch that cannot be applied yet: kept while a replay runs or has failed, else left to the replay to come. */
const defer = (s: State, seq: number, payload: Uint8Array): void => {
  if (seq > s.awaited) s.awaited = seq
  const { heldBytesMax, heldMax } = s.options
  if (!(s.begun || s.attempt > 0) || s.held.size >= heldMax || s.heldBytes + payload.length > heldBytesMax) return
  s.heldBytes += payload.length - (s.held.get(seq)?.length ?? 0)
  s.held.set(seq, payload)
}

const replay = (s: State, from: number, out: Array<Output>): void => {
  s.phase = "replaying"
  s.id++
  s.from = from
  s.begun = false
  s.target = -1
  s.first = -1
  s.same = false
  s.other = false
  s.cut = false
  if (s.attempt === 0) dropHeld(s)
  out.push({ _tag: "Replay", id: s.id, from, attempt: s.attempt })
}

/** From the last batch applied, so that the engine shows it is the same life. */
const replayFromLast = (s: State, out: Array<Output>): void => replay(s, s.next > 0 ? s.next - 1 : 0, out)

const open = (s: State, why: string): void => {
  s.doubt = true
  s.why = why
}

/** No replay is under way any more, and nothing is known to be missing. */
const rest = (s: State): void => {
  s.phase = "live"
  s.begun = false
  s.suspect = false
  s.attempt = 0
  s.awaited = -1
  s.doubt = false
  dropHeld(s)
}

const admit = (s: State, why: string, out: Array<Output>): void => {
  rest(s)
  s.lost++
  s.adrift = true
  s.printSeqs.fill(-1)
  purge(s, 0, why, out)
}

const newLife = (s: State, out: Array<Output>): void => {
  s.restarts++
  s.suspect = false
  s.printSeqs.fill(-1)
  s.awaited = -1
  dropHeld(s)
  if (s.options.replayable) open(s, "the engine has restarted")
  purge(s, 0, "the engine has restarted", out)
}

/** The replay is over: applies what was held, and sees whether anything is still missing. */
const settle = (s: State, out: Array<Output>): void => {
  const { held } = s
  for (const seq of [...held.keys()].sort((a, b) => a - b)) {
    const payload = held.get(seq)!
    if (seq > s.next) {
      if (again(s, out)) return
      skipTo(s, seq, out)
    }
    if (seq === s.next) apply(s, seq, payload, out)
    else if (compare(s, seq, payload) < 0) {
      newLife(s, out)
      replay(s, 0, out)
      return
    } else s.duplicates++
  }
  if (s.awaited < s.next) rest(s)
  else if (!again(s, out)) admit(s, `batch ${s.next} was published, and is not to be had`, out)
}

/** Something heard is missing. Asks once more, unless the replay just done should have brought it: then it is gone. */
const again = (s: State, out: Array<Output>): boolean => {
  if (s.target >= s.next) return false
  open(s, `sequence gap at ${s.next}`)
  replayFromLast(s, out)
  return true
}

const live = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  const { replayable } = s.options
  if (s.phase === "idle") connected(s, out)
  if (s.doubt) {
    defer(s, seq, payload)
    return
  }
  if (seq === s.next || s.adrift) {
    apply(s, seq, payload, out)
    return
  }
  if (seq > s.next) {
    s.gaps++
    if (replayable) {
      open(s, `sequence gap at ${s.next}`)
      // A look that is under way brings it, or shows that it must be asked for again.
      if (s.phase === "live") replayFromLast(s, out)
      defer(s, seq, payload)
      return
    }
    skipTo(s, seq, out)
    apply(s, seq, payload, out)
    return
  }
  const known = compare(s, seq, payload)
  if (known > 0 || (known === 0 && seq !== 0 && s.next - seq <= lateMax)) {
    s.duplicates++
    return
  }
  if (known === 0 && seq !== 0 && replayable) {
    // A long queue whose batches a replay has brought before, or another life: the last batch tells.
    open(s, `batch ${seq} came after ${s.next - 1}`)
    if (s.phase === "live") replayFromLast(s, out)
    defer(s, seq, payload)
    return
  }
  newLife(s, out)
  if (replayable) {
    s.attempt = 0
    replay(s, 0, out)
    defer(s, seq, payload)
  } else apply(s, seq, payload, out)
}

const connected = (s: State, out: Array<Output>): void => {
  const first = s.phase === "idle"
  s.connected = true
  if (s.options.replayable) {
    // A replay under way asked the publisher as it was before, and what was heard is of that life, too.
    s.suspect = false
    s.awaited = -1
    s.attempt = 0
    open(s, s.started ? "reconnected" : "reading what was published before")
    replayFromLast(s, out)
    return
  }
  s.phase = "live"
  // Whatever was missed, and be it a whole life, nobody tells.
  if (!first && s.started) admit(s, "reconnected, and no replay address tells what was missed", out)
}

const replayed = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  if (s.other || s.cut) return
  const begins = s.first < 0
  if (begins) {
    s.first = seq
    // The batch that would show whose life this is has left the buffer.
    if (seq === s.next && seq > s.from) skipTo(s, seq, out)
  }
  if (seq < s.next) {
    const known = compare(s, seq, payload)
    if (known > 0) s.same = true
    else if (known < 0) s.other = true
    return
  }
  // Asked for all of a suspect's life and shown nothing we know: nothing may be applied on top of the old one.
  if (s.suspect && !s.same) {
    s.other = true
    return
  }
  if (seq > s.next) {
    // Nothing is kept of what lies before. But a hole inside: a socket that was too slow drops, so it is asked for again.
    if (!begins && s.cutAt !== s.next) {
      s.cut = true
      s.cutAt = s.next
      return
    }
    skipTo(s, seq, out)
  }
  apply(s, seq, payload, out)
}

const replayDone = (s: State, out: Array<Output>): void => {
  s.attempt = 0
  s.failures = 0
  if (s.other || (s.suspect && !s.same)) {
    const empty = s.first < 0
    newLife(s, out)
    // A new life that has published nothing needs no second look.
    if (!empty) {
      replay(s, 0, out)
      return
    }
  } else if (s.first < 0 && s.next > 0) {
    // We hold what the publisher never published. Unless it only refused the one we asked for: look at all.
    if (s.from > 0) {
      s.suspect = true
      open(s, "the engine does not show the last batch we know")
      replay(s, 0, out)
      return
    }
    newLife(s, out)
  }
  if (s.cut) {
    open(s, `sequence gap at ${s.next}`)
    replayFromLast(s, out)
    return
  }
  if (s.next === 0 && s.awaited < 0) s.complete = true
  s.started = true
  s.adrift = false
  settle(s, out)
}

const replayFailed = (s: State, out: Array<Output>): void => {
  s.replayFailures++
  s.failures++
  // Nothing was known to be missing: it was only a look.
  if (!s.doubt) {
    rest(s)
    return
  }
  s.attempt++
  if (s.attempt < s.options.attemptsMax && s.failures <= s.options.attemptsMax) {
    replay(s, s.suspect ? 0 : Math.max(0, s.next - 1), out)
    return
  }
  const { awaited } = s
  const kept = [...s.held].sort(([a], [b]) => a - b)
  admit(s, `${s.why}, and its replay fails`, out)
  // What was heard meanwhile is where it goes on from, if it is without a hole.
  const first = kept[0]?.[0] ?? 0
  if (first + kept.length - 1 !== awaited || kept.some(([seq], i) => seq !== first + i)) return
  for (const [seq, payload] of kept) apply(s, seq, payload, out)
}

/** What to do about one input, in order. Changes the state. */
export const step = (s: State, input: Input): ReadonlyArray<Output> => {
  const out: Array<Output> = []
  switch (input._tag) {
    case "Connected":
      connected(s, out)
      break
    case "Disconnected":
      s.connected = false
      break
    case "Live":
      live(s, input.seq, input.payload, out)
      break
    case "ReplayBegun":
      if (input.id !== s.id || s.phase !== "replaying") break
      s.replays++
      s.begun = true
      s.target = s.awaited
      break
    case "Replayed":
      if (input.id === s.id && s.phase === "replaying") replayed(s, input.seq, input.payload, out)
      break
    case "ReplayDone":
      if (input.id === s.id && s.phase === "replaying") replayDone(s, out)
      break
    case "ReplayFailed":
      if (input.id === s.id && s.phase === "replaying") replayFailed(s, out)
      break
    case "Look":
      if (s.phase !== "replaying" && s.options.replayable) replayFromLast(s, out)
      break
    case "Admit":
      admit(s, input.why, out)
      break
    case "Resync":
      rest(s)
      purge(s, 0, input.why, out)
      s.adrift = !s.options.replayable
      if (s.options.replayable) {
        open(s, input.why)
        replay(s, 0, out)
      }
      break
  }
  return out
}

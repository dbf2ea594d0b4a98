/**
 * EventSequence: one publisher's numbered batches, put in order, with every hole healed or admitted.
 *
 * A pure machine (no clock, no I/O): `step(state, input)` answers what to do, in order. It starts by replaying from 0,
 * applies live batches above what was replayed, and holds them back while a hole is open.
 *
 *   idle ──Connected──▶ replaying ──ReplayDone, nothing missing──▶ live ──gap, reconnect, quiet──▶ replaying …
 *
 * Numbers start at 0 in each life of the engine and a restart says nothing, so lives are told apart by fingerprints of
 * the last batches: a replay asks for the last batch we applied, too, and expects to see that very batch first.
 * What no replay brings back is lost: `Purge` (forget all of this publisher), then go on with what there is.
 */

/** Batches whose fingerprints are remembered; also how late a straggler may be before it means a new life. */
const window = 64

export type Input =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Disconnected" }
  | { readonly _tag: "Live"; readonly seq: number; readonly payload: Uint8Array }
  /** `id` names the replay it belongs to; those of an abandoned replay are ignored. */
  | { readonly _tag: "Replayed"; readonly id: number; readonly seq: number; readonly payload: Uint8Array }
  | { readonly _tag: "ReplayDone"; readonly id: number }
  | { readonly _tag: "ReplayFailed"; readonly id: number }
  /** Some time has passed. If nothing was heard in it, the last message may be the one that was lost. */
  | { readonly _tag: "Quiet" }
  /** Forget everything and start over. */
  | { readonly _tag: "Resync" }

export type Output =
  | { readonly _tag: "Apply"; readonly seq: number; readonly payload: Uint8Array }
  | { readonly _tag: "Purge" }
  /** Ask the engine for `seq >= from`; after a pause that grows with `attempt`, when it is not 0. */
  | { readonly _tag: "Replay"; readonly id: number; readonly from: number; readonly attempt: number }

export interface Options {
  /** The source has a replay address. */
  readonly replayable: boolean
  /** Live batches held back at most; more are dropped, and found missing later. */
  readonly heldMax: number
  readonly heldBytesMax: number
  /** Failed replays in a row before the hole is admitted. */
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
  /** Every batch of this life has been applied. */
  complete: boolean
  /** Next number to apply. */
  next: number
  heard: boolean
  readonly held: Map<number, Uint8Array>
  heldBytes: number
  readonly printSeqs: Float64Array
  readonly prints: Int32Array
  // The replay under way.
  id: number
  from: number
  first: number
  /** The engine did not show our last batch: is it another life? */
  suspect: boolean
  same: boolean
  other: boolean
  attempt: number
  /** Replays in a row that did not bring the batch we wait for. */
  barren: number
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
  complete: false,
  next: 0,
  heard: false,
  held: new Map(),
  heldBytes: 0,
  printSeqs: new Float64Array(window).fill(-1),
  prints: new Int32Array(window),
  id: 0,
  from: 0,
  first: -1,
  suspect: false,
  same: false,
  other: false,
  attempt: 0,
  barren: 0,
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
  s.next = seq + 1
  out.push({ _tag: "Apply", seq, payload })
}

const purge = (s: State, next: number, out: Array<Output>): void => {
  s.purges++
  s.complete = false
  s.next = next
  out.push({ _tag: "Purge" })
}

/** Admits that what lies before `seq` will not come. */
const skipTo = (s: State, seq: number, out: Array<Output>): void => {
  s.lost++
  purge(s, seq, out)
}

const hold = (s: State, seq: number, payload: Uint8Array): void => {
  const { heldBytesMax, heldMax } = s.options
  if (s.held.size >= heldMax || s.heldBytes + payload.length > heldBytesMax) return
  s.heldBytes += payload.length - (s.held.get(seq)?.length ?? 0)
  s.held.set(seq, payload)
}

const dropHeld = (s: State): void => {
  s.held.clear()
  s.heldBytes = 0
}

const replay = (s: State, from: number, out: Array<Output>): void => {
  s.phase = "replaying"
  s.id++
  s.from = from
  s.first = -1
  s.same = false
  s.other = false
  s.replays++
  out.push({ _tag: "Replay", id: s.id, from, attempt: s.attempt })
}

/** From the last batch applied, so that the engine shows it is the same life. */
const replayFromLast = (s: State, out: Array<Output>): void => replay(s, s.next > 0 ? s.next - 1 : 0, out)

const newLife = (s: State, out: Array<Output>): void => {
  s.restarts++
  s.suspect = false
  s.started = false
  s.printSeqs.fill(-1)
  dropHeld(s)
  purge(s, 0, out)
}

/** The replay is over: apply what was held, and see whether anything is still missing. */
const settle = (s: State, out: Array<Output>): void => {
  const { held } = s
  s.phase = "live"
  s.suspect = false
  for (const seq of [...held.keys()].sort((a, b) => a - b)) {
    const payload = held.get(seq)!
    if (seq > s.next) {
      // One more replay may have what was published since; a second barren one means it is gone.
      if (s.options.replayable && s.barren < 1 && s.attempt === 0) {
        s.barren++
        s.doubt = true
        replayFromLast(s, out)
        return
      }
      skipTo(s, seq, out)
    }
    held.delete(seq)
    s.heldBytes -= payload.length
    if (seq === s.next) apply(s, seq, payload, out)
    else if (compare(s, seq, payload) < 0) {
      newLife(s, out)
      if (s.options.replayable) replay(s, 0, out)
      return
    } else s.duplicates++
  }
  s.barren = 0
  s.attempt = 0
  s.doubt = false
}

const live = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  const { replayable } = s.options
  s.heard = true
  if (s.phase === "idle") connected(s, out)
  if (s.phase === "replaying") {
    hold(s, seq, payload)
    return
  }
  if (seq === s.next) {
    apply(s, seq, payload, out)
    return
  }
  if (seq > s.next) {
    if (replayable) {
      s.gaps++
      s.doubt = true
      hold(s, seq, payload)
      replayFromLast(s, out)
      return
    }
    if (s.started) {
      s.gaps++
      skipTo(s, seq, out)
    }
    apply(s, seq, payload, out)
    return
  }
  const known = compare(s, seq, payload)
  if (known > 0 || (known === 0 && seq !== 0 && s.next - seq <= window)) {
    s.duplicates++
    return
  }
  newLife(s, out)
  if (!replayable) {
    apply(s, seq, payload, out)
    return
  }
  s.doubt = true
  hold(s, seq, payload)
  replay(s, 0, out)
}

const connected = (s: State, out: Array<Output>): void => {
  const first = s.phase === "idle"
  s.connected = true
  if (first) s.phase = "live"
  if (!s.options.replayable) return
  if (!first) s.doubt = true
  // A replay under way asked the publisher as it was before, and what is held is of that life, too.
  dropHeld(s)
  s.suspect = false
  replayFromLast(s, out)
}

const replayed = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  if (s.other) return
  if (s.first < 0) {
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
  if (seq > s.next) skipTo(s, seq, out)
  apply(s, seq, payload, out)
}

const replayDone = (s: State, out: Array<Output>): void => {
  s.attempt = 0
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
      replay(s, 0, out)
      return
    }
    newLife(s, out)
  }
  if (s.next === 0) s.complete = true
  s.started = true
  settle(s, out)
}

const replayFailed = (s: State, out: Array<Output>): void => {
  s.replayFailures++
  // Nothing was known to be missing: it was only a look.
  if (s.started && !s.doubt && s.held.size === 0) {
    s.phase = "live"
    s.suspect = false
    return
  }
  if (++s.attempt < s.options.attemptsMax) {
    replay(s, s.suspect ? 0 : Math.max(0, s.next - 1), out)
    return
  }
  if (s.held.size > 0) {
    settle(s, out)
    return
  }
  // Go on, still in doubt, until a later look succeeds.
  s.attempt = 0
  s.phase = "live"
  s.suspect = false
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
    case "Replayed":
      if (input.id === s.id && s.phase === "replaying") replayed(s, input.seq, input.payload, out)
      break
    case "ReplayDone":
      if (input.id === s.id && s.phase === "replaying") replayDone(s, out)
      break
    case "ReplayFailed":
      if (input.id === s.id && s.phase === "replaying") replayFailed(s, out)
      break
    case "Quiet":
      if (s.phase !== "replaying" && s.options.replayable && !s.heard) {
        if (s.phase === "idle") s.phase = "live"
        replayFromLast(s, out)
      }
      s.heard = false
      break
    case "Resync":
      dropHeld(s)
      s.suspect = false
      s.attempt = 0
      purge(s, s.options.replayable ? 0 : s.next, out)
      s.doubt = s.options.replayable
      if (s.options.replayable) replay(s, 0, out)
      break
  }
  return out
}

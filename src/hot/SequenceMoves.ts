/** SequenceMoves: what `EventSequence` can do, each with what it changes of the state; when to do it is decided elsewhere. */
import type { Output, State } from "./SequenceState.ts"

/** Hands out the next batch, or the one to go on from. */
export const apply = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  s.prints.add(seq, payload)
  if (seq === 0) s.complete = true
  s.started = true
  s.adrift = false
  s.next = seq + 1
  out.push({ _tag: "Apply", seq, payload })
}

/** Forgets all that was applied; `next` is what comes next. */
export const purge = (s: State, next: number, why: string, out: Array<Output>): void => {
  s.purges++
  s.complete = false
  s.lostWhy = why
  s.next = next
  out.push({ _tag: "Purge" })
}

/** Admits that what lies before `seq` will not come. */
export const skipTo = (s: State, seq: number, out: Array<Output>): void => {
  s.lost++
  purge(s, seq, `batches before ${seq} are lost`, out)
}

const dropHeld = (s: State): void => {
  s.held.clear()
  s.heldBytes = 0
}

/** A batch that cannot be applied yet: kept while a replay runs or has failed, else left to the replay to come. */
export const defer = (s: State, seq: number, payload: Uint8Array): void => {
  if (seq > s.awaited) s.awaited = seq
  const { heldBytesMax, heldMax } = s.options
  if (!(s.begun || s.attempt > 0) || s.held.size >= heldMax || s.heldBytes + payload.length > heldBytesMax) return
  s.heldBytes += payload.length - (s.held.get(seq)?.length ?? 0)
  s.held.set(seq, payload)
}

/** Asks for what was published from a number on. */
export const replay = (s: State, from: number, out: Array<Output>): void => {
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
export const replayFromLast = (s: State, out: Array<Output>): void => replay(s, s.next > 0 ? s.next - 1 : 0, out)

/** From now on it is in doubt. */
export const open = (s: State, why: string): void => {
  s.doubt = true
  s.why = why
}

/** No replay is under way any more, and nothing is known to be missing. */
export const rest = (s: State): void => {
  s.phase = "live"
  s.begun = false
  s.suspect = false
  s.attempt = 0
  s.awaited = -1
  s.doubt = false
  dropHeld(s)
}

/** Forgets everything, and goes on from whatever comes. */
export const admit = (s: State, why: string, out: Array<Output>): void => {
  rest(s)
  s.lost++
  s.adrift = true
  s.prints.clear()
  purge(s, 0, why, out)
}

/** The engine has restarted: its cache is empty, and its numbers begin anew. */
export const newLife = (s: State, out: Array<Output>): void => {
  s.restarts++
  s.suspect = false
  s.prints.clear()
  s.awaited = -1
  dropHeld(s)
  if (s.options.replayable) open(s, "the engine has restarted")
  purge(s, 0, "the engine has restarted", out)
}

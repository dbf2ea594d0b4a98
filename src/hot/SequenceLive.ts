/** SequenceLive: what `EventSequence` decides when its subscription begins, and when a batch comes as it is published. */
import { admit, apply, defer, newLife, open, replay, replayFromLast, skipTo } from "./SequenceMoves.ts"
import type { Output, State } from "./SequenceState.ts"

/** How late a batch may be that cannot be compared, before it means another life. */
const lateMax = 64

export const connected = (s: State, out: Array<Output>): void => {
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

export const live = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  const { replayable } = s.options
  if (s.phase === "idle") {
    // Where another stood was taken over. What follows on it is applied, or was: the engine is then asked for the last of
    // it, which it still has when what was taken over is long gone.
    if (s.started && (seq === s.next || s.prints.compare(seq, payload) > 0)) {
      if (seq === s.next) apply(s, seq, payload, out)
      else s.duplicates++
      return
    }
    connected(s, out)
  }
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
  const known = s.prints.compare(seq, payload)
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

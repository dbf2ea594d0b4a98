/** SequenceReplay: what `EventSequence` decides while a replay is answered, and when it has ended. */
import { admit, apply, newLife, open, replay, replayFromLast, rest, skipTo } from "./SequenceMoves.ts"
import type { Output, State } from "./SequenceState.ts"

export const replayed = (s: State, seq: number, payload: Uint8Array, out: Array<Output>): void => {
  if (s.other || s.cut) return
  const begins = s.first < 0
  if (begins) {
    s.first = seq
    // The batch that would show whose life this is has left the buffer.
    if (seq === s.next && seq > s.from) skipTo(s, seq, out)
  }
  if (seq < s.next) {
    const known = s.prints.compare(seq, payload)
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

export const replayDone = (s: State, out: Array<Output>): void => {
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

export const replayFailed = (s: State, out: Array<Output>): void => {
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
    else if (s.prints.compare(seq, payload) < 0) {
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

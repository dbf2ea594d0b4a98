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
 * One that took over where another stood (`restore`) applies what follows without a hole before it is connected, too.
 *
 * Numbers start at 0 in each life of the engine and a restart says nothing, so lives are told apart by fingerprints of
 * the last batches: a replay asks for the last batch we applied, too, and expects to see that very batch first.
 * What no replay brings back is lost: `Purge` (forget all of this publisher), then go on with what there is.
 */
import { connected, live } from "./SequenceLive.ts"
import { admit, open, purge, replay, replayFromLast, rest } from "./SequenceMoves.ts"
import { replayDone, replayed, replayFailed } from "./SequenceReplay.ts"
import type { Input, Output, State } from "./SequenceState.ts"

export { type Input, make, type Options, type Output, restore, type Saved, type State, saved } from "./SequenceState.ts"

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

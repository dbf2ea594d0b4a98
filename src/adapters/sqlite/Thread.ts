/**
 * Thread: has the file, and answers the router's thread. A wait for the disk, of which there are long ones, is waited here.
 *
 * What changes something is done in order, in turns; what only looks is done at once, between them.
 */
import { parentPort, workerData } from "node:worker_threads"
import type { Answer, Asked, Said, Start } from "./Asked.ts"
import * as File from "./File.ts"
import * as Held from "./Held.ts"

const say = (said: Said): void => parentPort!.postMessage(said)

/** Null when the file cannot be used, which was said then. */
const open = (): Held.Held | null => {
  try {
    return Held.open(workerData as Start)
  } catch (error) {
    if (!(error instanceof File.Unusable)) throw error
    say({ _tag: "Unusable", code: error.code, why: error.message, fix: error.fix })
    return null
  }
}

const serve = (held: Held.Held): void => {
  interface Job {
    readonly id: number
    readonly turns: Generator<void, Answer>
  }
  /** Sweeps beside what the router waits for: a turn of one, a turn of the other. */
  const queues: { readonly changes: Array<Job>; readonly sweeps: Array<Job> } = { changes: [], sweeps: [] }
  let isRunning = false

  /** One turn of it. Whether that was the last. */
  const isDone = ({ id, turns }: Job): boolean => {
    try {
      const turn = turns.next()
      if (turn.done === true) say({ _tag: "Answered", id, life: held.life(), value: turn.value })
      return turn.done === true
    } catch (error) {
      say({ _tag: "Refused", id, detail: held.recover(error) })
      return true
    }
  }

  const next = (): void => {
    for (const queue of [queues.changes, queues.sweeps]) {
      const job = queue[0]
      if (job !== undefined && isDone(job)) queue.shift()
    }
    isRunning = queues.changes.length + queues.sweeps.length > 0
    if (isRunning) setImmediate(next)
  }

  parentPort!.on("message", ({ ask, id }: Asked) => {
    const job = { id, turns: held.answer(ask) }
    if (["Lookup", "Read", "Generation", "Tenures", "Names", "Facts"].includes(ask._tag)) {
      isDone(job)
      return
    }
    queues[ask._tag === "Sweep" ? "sweeps" : "changes"].push(job)
    if (!isRunning) setImmediate(next)
    isRunning = true
  })
  say({ _tag: "Opened", version: held.version })
}

const held = open()
if (held !== null) serve(held)

/**
 * Helper: the main thread's end of one encoding thread.
 *
 * Bounded by the text waiting; beyond that, when the thread dies, or when it is silent for `deadlineMs`, the answer is
 * null. A dead thread is started again by the next job. It keeps the process alive only while somebody waits.
 */
import { Worker } from "node:worker_threads"
import type { BpeModel } from "./BpeModel.ts"
import type { Answer, Job, Loaded, Start } from "./Thread.ts"

export interface Options {
  /** Most UTF-16 units waiting for the thread. */
  readonly queueCharsMax: number
  readonly deadlineMs: number
}

export interface Helper {
  readonly encode: (
    texts: ReadonlyArray<string>,
    addSpecialTokens: boolean
  ) => Promise<ReadonlyArray<Uint32Array> | null>
  readonly stats: () => HelperStats
  readonly close: () => Promise<void>
}

export interface HelperStats {
  readonly waitingChars: number
  /** Jobs answered with null because too much was waiting. */
  readonly refused: number
  readonly crashes: number
}

interface Waiting {
  readonly chars: number
  readonly timer: NodeJS.Timeout
  readonly resolve: (ids: ReadonlyArray<Uint32Array> | null) => void
}

/** The same file as TypeScript in the checkout and as JavaScript in the package. */
const file = new URL(import.meta.url.endsWith(".ts") ? "./Thread.ts" : "./Thread.js", import.meta.url)

/** Loads a folder's tokenizer on a new thread. Rejects with what is missing or broken. */
export const start = (dir: string, options: Options): Promise<{ readonly loaded: Loaded; readonly helper: Helper }> => {
  let worker: Worker | null = null
  let model: BpeModel | null = null
  let closed = false
  let nextId = 0
  let waitingChars = 0
  let refused = 0
  let crashes = 0
  const waiting = new Map<number, Waiting>()

  const settle = (id: number, ids: ReadonlyArray<Uint32Array> | null): void => {
    const job = waiting.get(id)
    if (job === undefined) return
    waiting.delete(id)
    waitingChars -= job.chars
    clearTimeout(job.timer)
    if (waiting.size === 0) worker?.unref()
    job.resolve(ids)
  }

  const lose = (dead: Worker): void => {
    if (worker !== dead) return
    worker = null
    if (!closed) crashes++
    for (const id of [...waiting.keys()]) settle(id, null)
  }

  const spawn = (hear: (answer: Answer) => void, died: (cause: Error) => void): Worker => {
    const workerData: Start = { dir, model }
    const spawned = new Worker(file, { workerData, name: "warmpath-tokenizer" })
    worker = spawned
    spawned.on("message", (answer: Answer) => {
      if (answer._tag === "Done") settle(answer.id, answer.ids)
      else hear(answer)
    })
    spawned.on("error", (cause) => {
      lose(spawned)
      died(cause instanceof Error ? cause : new Error(String(cause)))
    })
    spawned.on("exit", (code) => {
      lose(spawned)
      died(new Error(`The tokenizer thread ended with code ${code}.`))
    })
    return spawned
  }

  const ignore = (): void => {}

  const helper: Helper = {
    encode: (texts, addSpecialTokens) => {
      let chars = 0
      for (const text of texts) chars += text.length
      if (closed) return Promise.resolve(null)
      if (waitingChars + chars > options.queueCharsMax) {
        refused++
        return Promise.resolve(null)
      }
      const running = worker ?? spawn(ignore, ignore)
      const id = nextId++
      waitingChars += chars
      return new Promise((resolve) => {
        const timer = setTimeout(() => void running.terminate(), options.deadlineMs)
        waiting.set(id, { chars, timer, resolve })
        running.ref()
        const job: Job = { id, texts, addSpecialTokens }
        running.postMessage(job)
      })
    },
    stats: () => ({ waitingChars, refused, crashes }),
    close: async () => {
      closed = true
      await worker?.terminate()
    }
  }

  return new Promise((resolve, reject) => {
    const first = spawn((answer) => {
      if (answer._tag === "Loaded") {
        model = answer.model
        first.unref()
        resolve({ loaded: answer, helper })
      } else if (answer._tag === "Failed") {
        void helper.close()
        reject(new Error(answer.message))
      }
    }, reject)
  })
}

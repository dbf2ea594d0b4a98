/** Pool: threads, one per core, which do tasks in the order given. */
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import type { Data, Said, Task } from "./Thread.ts"

export interface Pool {
  /**
   * Answers in the order of the tasks. `onShare`: how far a task is, 0 to 1; `onSaid`: its answer, as it comes. Rejects with
   * the first failure.
   */
  readonly run: (
    tasks: ReadonlyArray<Task>,
    onShare: (task: number, share: number) => void,
    onSaid?: (task: number, said: Said) => void
  ) => Promise<ReadonlyArray<Said>>
  readonly close: () => Promise<void>
}

export const make = (data: Data, size = availableParallelism()): Pool => {
  const threads = Array.from(
    { length: size },
    () => new Worker(new URL("./Thread.ts", import.meta.url), { workerData: data, name: "judge" })
  )
  const on = (thread: Worker, task: Task, onShare: (share: number) => void): Promise<Said> =>
    new Promise((resolve, reject) => {
      const close = () => {
        thread.off("message", hear)
        thread.off("error", fail)
      }
      const fail = (error: Error) => {
        close()
        reject(error)
      }
      const hear = (said: Said) => {
        if (said._tag === "Share") return onShare(said.share)
        if (said._tag === "Failed") return fail(new Error(said.message))
        close()
        resolve(said)
      }
      thread.on("message", hear)
      thread.on("error", fail)
      thread.postMessage(task)
    })
  return {
    run: async (tasks, onShare, onSaid) => {
      const answers: Array<Said> = []
      let next = 0
      await Promise.all(
        threads.map(async (thread) => {
          while (next < tasks.length) {
            const at = next++
            answers[at] = await on(thread, tasks[at]!, (share) => onShare(at, share))
            onSaid?.(at, answers[at]!)
            onShare(at, 1)
          }
        })
      )
      return answers
    },
    close: async () => void (await Promise.all(threads.map((thread) => thread.terminate())))
  }
}

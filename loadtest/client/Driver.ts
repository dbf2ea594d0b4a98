/**
 * Driver: runs planned sessions against one URL, all at once, each a closed loop.
 *
 * A turn is sent when it is due and the answer before it has been read for `thinkMs`. A session ends at its first failed
 * request. When the signal fires, requests under way are aborted and counted as failed, and nothing more is sent. Rejects
 * only on a defect in a workload.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Agent } from "undici"
import type { Plan } from "../workloads/Mix.ts"
import type { Label } from "../workloads/Workload.ts"
import * as SseClient from "./SseClient.ts"

export interface Result extends SseClient.Outcome {
  readonly label: Label
  readonly session: string
  readonly turn: number
}

export interface DriveOptions {
  readonly url: string
  readonly signal: AbortSignal
  /** Least pause between an answer and the next turn. */
  readonly thinkMs: number
  readonly onStart?: () => void
  readonly onResult?: (result: Result) => void
}

/** All results, in the order they ended. */
export const drive = async (plans: ReadonlyArray<Plan>, options: DriveOptions): Promise<ReadonlyArray<Result>> => {
  const { signal } = options
  const results: Array<Result> = []
  const dispatcher = new Agent({ pipelining: 1 })
  const start = performance.now()

  const run = async ({ dueMs, session }: Plan): Promise<void> => {
    let answer: string | null = null
    for (let turn = 0; turn < session.turns; turn++) {
      const wait = start + (dueMs[turn] ?? 0) - performance.now()
      await sleep(Math.max(turn === 0 ? 0 : options.thinkMs, wait), undefined, { signal })
      const body = session.next(answer)
      if (body === null) return
      options.onStart?.()
      const outcome = await SseClient.send(options.url, body, {
        dispatcher,
        signal,
        // The same id under every policy, so that logs of two runs can be laid side by side.
        headers: { "x-request-id": `${session.id}.${turn}` }
      })
      const result: Result = { ...outcome, label: session.label, session: session.id, turn }
      results.push(result)
      options.onResult?.(result)
      if (!outcome.ok) return
      answer = outcome.text
    }
  }

  try {
    await Promise.all(
      plans.map((plan) =>
        run(plan).catch((error: unknown) => {
          if (!signal.aborted) throw error
        })
      )
    )
    return results
  } finally {
    await dispatcher.destroy()
  }
}

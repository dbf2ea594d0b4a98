/** A replica in a process of its own, from the outside. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Ask, Asks, Given, Progress } from "./Words.ts"

export interface Replica {
  readonly id: string
  readonly ask: <K extends Ask>(
    what: K,
    ...given: Asks[K]["given"] extends null ? [] : [Asks[K]["given"]]
  ) => Promise<Asks[K]["answer"]>
  /** What it has done so far, at most some milliseconds old. */
  readonly progress: () => Progress
  readonly onProgress: (listener: () => void) => void
  /** How many of the requests it booked were charged elsewhere. */
  readonly heard: (charged: number) => void
  readonly close: () => Promise<void>
}

type Message = Progress | { readonly ask: Ask; readonly answer: unknown }

export const start = async (given: Given, flags: ReadonlyArray<string>): Promise<Replica> => {
  const child = fork(fileURLToPath(new URL("ReplicaProcess.ts", import.meta.url)), [JSON.stringify(given)], {
    execArgv: ["--expose-gc", ...flags],
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"]
  })
  const answers = new Map<Ask, (answer: never) => void>()
  let progress: Progress = { batches: 0, charged: 0 }
  let listener = (): void => {}
  let closing = false
  child.on("message", (message: Message) => {
    if ("ask" in message) return answers.get(message.ask)?.(message.answer as never)
    progress = message
    listener()
  })
  const ended = once(child, "exit").then(([code]) => {
    if (closing) return
    console.error(`The replica "${given.id}" ended (${code}).`)
    process.exit(1)
  })
  await once(child, "message")
  return {
    id: given.id,
    ask: (ask, ...rest) =>
      new Promise((resolve) => {
        answers.set(ask, resolve)
        child.send({ ask, given: rest[0] ?? null })
      }),
    progress: () => progress,
    onProgress: (next) => {
      listener = next
    },
    heard: (charged) => void child.send({ charged }),
    close: async () => {
      closing = true
      child.disconnect()
      await ended
    }
  }
}

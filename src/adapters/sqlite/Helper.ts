/** Helper: the router's end of the thread that has the file: questions with deadlines; another thread when one dies. */
import { Worker } from "node:worker_threads"
import { Effect, type Scope } from "effect"
import { type Status, StoreError, StoreUnusable } from "../../ports/StateStore.ts"
import type { Answer, Answers, Ask, Asked, Said, Start } from "./Asked.ts"

export interface Helper {
  readonly status: () => Status
  readonly ask: <A extends Ask>(
    what: string,
    ask: A,
    deadlineMs: number
  ) => Effect.Effect<{ readonly life: string; readonly value: Answers[A["_tag"]] }, StoreError>
}

type Heard = { readonly life: string; readonly value: Answer } | StoreError["reason"] | { readonly refused: string }

/** The same file as TypeScript in the checkout and as JavaScript in the package. */
const file = new URL(import.meta.url.endsWith(".ts") ? "./Thread.ts" : "./Thread.js", import.meta.url)

const restartMs = 1_000
/** For the disk to have what is in the log. */
const closeMs = 10_000

/** Fails when the file cannot be used. Closed with the scope, once all that was asked is done. */
export const open = (url: string, workerData: Start): Effect.Effect<Helper, StoreUnusable, Scope.Scope> =>
  Effect.gen(function* () {
    const log = Effect.runForkWith(yield* Effect.context<never>())
    const waiting = new Map<number, (heard: Heard) => void>()
    let worker: Worker | null = null
    let version: string | null = null
    let why = "not open yet"
    let nextId = 0
    let isClosed = false

    /** Tells, once, what became of it: null when it is open. */
    const start = (tell: (unusable: StoreUnusable | null) => void): void => {
      let isTold = false
      const told = (unusable: StoreUnusable | null): void => {
        if (!isTold) tell(unusable)
        isTold = true
      }
      const spawned = new Worker(file, { workerData, name: "warmpath-store" })
      const unusable = (code: string, why: string, fix: string) => new StoreUnusable({ store: url, code, why, fix })
      spawned.on("message", (said: Said) => {
        if (said._tag === "Opened") {
          // Begun again just before the store was closed.
          if (isClosed) return void spawned.terminate()
          version = `sqlite ${said.version}`
          worker = spawned
          why = ""
          told(null)
        } else if (said._tag === "Unusable") {
          why = said.why
          told(unusable(said.code, said.why, said.fix))
        } else {
          const { id } = said
          waiting.get(id)?.(said._tag === "Refused" ? { refused: said.detail } : said)
        }
      })
      spawned.on("error", (cause) => {
        why = `its thread died: ${cause instanceof Error ? cause.message : String(cause)}`
      })
      spawned.on("exit", (code) => {
        told(unusable("ERR_STORE_FILE", why, "See the log."))
        if (worker !== spawned) return
        worker = null
        if (why === "") why = `its thread ended with code ${code}`
        for (const hear of [...waiting.values()]) hear("away")
        if (isClosed) return
        log(Effect.logError(`The store ${url} is away: ${why}`))
        again()
      })
    }
    const again = (): void => {
      setTimeout(() => {
        if (isClosed) return
        start((unusable) => {
          if (unusable !== null) again()
          else log(Effect.logInfo(`The store ${url} is back`))
        })
      }, restartMs).unref()
    }

    const ask: Helper["ask"] = <A extends Ask>(what: string, ask: A, deadlineMs: number) =>
      Effect.callback<{ readonly life: string; readonly value: Answers[A["_tag"]] }, StoreError>((resume) => {
        const failed = (reason: StoreError["reason"], detail: string) => new StoreError({ what, reason, detail })
        if (worker === null || isClosed) return resume(Effect.fail(failed("away", isClosed ? "it is closed" : why)))
        const id = nextId++
        const done = () => {
          waiting.delete(id)
          clearTimeout(timer)
        }
        const hear = (heard: Heard): void => {
          done()
          if (heard === "away") resume(Effect.fail(failed("away", why)))
          else if (typeof heard === "string") resume(Effect.fail(failed(heard, `no answer in ${deadlineMs} ms`)))
          else if ("refused" in heard) resume(Effect.fail(failed("refused", heard.refused)))
          else resume(Effect.succeed(heard as { readonly life: string; readonly value: Answers[A["_tag"]] }))
        }
        const timer = setTimeout(hear, deadlineMs, "late")
        waiting.set(id, hear)
        const asked: Asked = { id, ask }
        worker.postMessage(asked)
        return Effect.sync(done)
      })

    yield* Effect.acquireRelease(
      Effect.callback<void, StoreUnusable>((resume) =>
        start((unusable) => resume(unusable === null ? Effect.void : Effect.fail(unusable)))
      ),
      () =>
        Effect.gen(function* () {
          const last = worker
          if (last !== null) yield* Effect.ignore(ask("close", { _tag: "Close" }, closeMs))
          isClosed = true
          why = "it is closed"
          if (last !== null) yield* Effect.promise(() => last.terminate())
        })
    )
    return { status: () => ({ connected: worker !== null && !isClosed, why, server: version }), ask }
  })

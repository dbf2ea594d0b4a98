/** Stage: fresh engines and a router over them, for as long as somebody uses them. */
import { Agent } from "undici"
import * as SseClient from "../client/SseClient.ts"
import { request } from "../workloads/Workload.ts"
import type * as Fleet from "./Fleet.ts"

/** A running router. The caller of `run` supplies it: this room knows no router. */
export interface RouterHandle {
  /** Where clients send requests, for example `http://127.0.0.1:40123`. */
  readonly url: string
  /** Where operators ask, or null when there is no such listener. */
  readonly adminUrl: string | null
  readonly close: () => Promise<void>
}

export type Policy = "eta" | "round-robin"

export interface RouterOptions {
  /** Base URLs of the workers. */
  readonly workers: ReadonlyArray<string>
  readonly policy: Policy
}

/** Starts a router on free ports of the loopback and resolves once it accepts requests and knows its workers. */
export type StartRouter = (options: RouterOptions) => Promise<RouterHandle>

export interface Stage {
  readonly fleet: Fleet.FleetHandle
  readonly router: RouterHandle
  readonly model: string
  /** Blocks in each engine's cache. */
  readonly blocks: number
}

export interface StageOptions {
  readonly fleet: Fleet.FleetOptions
  readonly policy: Policy
  readonly startFleet: Fleet.StartFleet
  readonly startRouter: StartRouter
  readonly signal: AbortSignal
}

/** Name of the model the engines serve. */
const servedModel = async (url: string): Promise<string> => {
  const answer = (await (await fetch(`${url}/v1/models`)).json()) as { data?: ReadonlyArray<{ id: string }> }
  const model = answer.data?.[0]?.id
  if (model === undefined) throw new Error(`The engine at ${url} lists no model on /v1/models.`)
  return model
}

/** One short request through the router: compiles the code paths, and fails here if anything is wrong at all. */
const warmUp = async (url: string, model: string, dispatcher: Agent, signal: AbortSignal): Promise<void> => {
  const outcome = await SseClient.send(url, request(model, 1, [{ role: "user", content: "Are you there?" }]), {
    dispatcher,
    signal
  })
  if (!outcome.ok) throw new Error(`The router at ${url} did not answer a first request: ${outcome.error}.`)
}

/** What is being started, unless the signal comes first; then it is closed as soon as it is there, and not waited for. */
const unlessAborted = async <A extends { readonly close: () => Promise<void> }>(
  starting: Promise<A>,
  signal: AbortSignal
): Promise<A> => {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => {
    starting.then((late) => late.close()).catch(() => {})
    aborted.reject(signal.reason)
  }
  signal.addEventListener("abort", onAbort, { once: true })
  try {
    return await Promise.race([starting, aborted.promise])
  } finally {
    signal.removeEventListener("abort", onAbort)
  }
}

/** Starts fresh engines and a router over them, lends them to `work`, and stops both, whatever happens. */
export const use = async <A>(options: StageOptions, work: (stage: Stage) => Promise<A>): Promise<A> => {
  const { policy, signal, startFleet, startRouter } = options
  signal.throwIfAborted()
  const fleet = await unlessAborted(startFleet(options.fleet), signal)
  try {
    const model = await servedModel(fleet.urls[0]!)
    const router = await unlessAborted(startRouter({ workers: fleet.urls, policy }), signal)
    try {
      const dispatcher = new Agent()
      try {
        for (let i = 0; i < fleet.urls.length; i++) await warmUp(router.url, model, dispatcher, signal)
      } finally {
        await dispatcher.destroy()
      }
      return await work({ fleet, router, model, blocks: options.fleet.blocks })
    } finally {
      await router.close()
    }
  } finally {
    await fleet.close()
  }
}

/** Fleet: starts simulated engines in a child process and stops them with it. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Dispatcher } from "undici"
import type { SimState } from "../fleet/SimEngine.ts"

export interface FleetOptions {
  readonly engines: number
  /** Blocks in each engine's cache. */
  readonly blocks: number
  /** Tokens per block. */
  readonly blockSize: number
  /** How many times as fast as the engines' default. */
  readonly speed: number
  readonly seed: number
}

export interface FleetHandle {
  /** Base URLs of the engines. */
  readonly urls: ReadonlyArray<string>
  readonly close: () => Promise<void>
}

export type StartFleet = (options: FleetOptions) => Promise<FleetHandle>

const startMsMax = 30_000
const closeMsMax = 3_000
const stderrCharsMax = 2_000

/** Beside this file, in the same language: `.ts` in a checkout, `.js` in a package. */
const script = fileURLToPath(new URL(`./FleetProcess${import.meta.url.slice(-3)}`, import.meta.url))

/** Rejects when the engines do not come up within half a minute. */
export const start: StartFleet = async (options) => {
  const child = fork(script, [], { stdio: ["ignore", "ignore", "pipe", "ipc"], execArgv: [] })
  let stderr = ""
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-stderrCharsMax)
  })
  const exited = once(child, "exit")

  const close = async () => {
    const running = () => child.exitCode === null && child.signalCode === null
    if (child.connected) child.disconnect()
    if (!running()) return
    const timer = setTimeout(() => child.kill("SIGKILL"), closeMsMax)
    if (running()) await exited
    clearTimeout(timer)
  }

  const answered = once(child, "message", { signal: AbortSignal.timeout(startMsMax) })
  child.send(options)
  try {
    const [message] = (await Promise.race([
      answered,
      exited.then(([code, signal]) => [{ error: `they ended with ${signal ?? `status ${code}`}. ${stderr}` }])
    ])) as [{ urls: ReadonlyArray<string> } | { error: string }]
    if ("error" in message) throw new Error(`The simulated engines did not start: ${message.error}`)
    return { urls: message.urls, close }
  } catch (error) {
    await close()
    if (error instanceof Error && error.name === "AbortError") {
      throw new Error(`The simulated engines did not start within ${startMsMax / 1_000} s. ${stderr}`)
    }
    throw error
  }
}

/** What an engine says of itself. Rejects when it does not answer within ten seconds: the machine may be busy. */
export const state = async (url: string, dispatcher: Dispatcher): Promise<SimState> => {
  const signal = AbortSignal.timeout(10_000)
  const { body, statusCode } = await dispatcher.request({ origin: url, path: "/sim/state", method: "GET", signal })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${url}/sim/state answered HTTP ${statusCode}.`)
  return JSON.parse(text) as SimState
}

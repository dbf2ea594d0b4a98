/** Feed: the `fleet` events of a router's `GET /admin/live`, as they come. */
import { setTimeout as sleep } from "node:timers/promises"
import type { LiveFleet } from "../domain/Live.ts"

/** Between two tries to reach a router that is away. */
const retryMs = 1_000
/** It tells something every second: after so long a silence it is asked anew. */
const silenceMs = 5_000

/** Why a router cannot be followed, in words. */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  if (!(cause instanceof Error)) return error.message
  return cause.message !== "" ? cause.message : ((cause as NodeJS.ErrnoException).code ?? error.message)
}

/** What it answered instead, with its own words where it has some. */
const refusal = async (response: Response): Promise<string> => {
  const what = `it answers ${response.status} to GET /admin/live`
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string; fix?: string } }
    return error?.message === undefined ? what : `${what}: ${error.message} ${error.fix ?? ""}`.trim()
  } catch {
    return what
  }
}

/** Data of the `fleet` events in a stream of server-sent events. */
async function* fleets(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<LiveFleet> {
  let text = ""
  for await (const part of body.pipeThrough(new TextDecoderStream())) {
    heard()
    text += part
    const records = text.split("\n\n")
    text = records.pop()!
    for (const record of records) {
      if (!record.startsWith("event: fleet\n")) continue
      yield JSON.parse(record.slice(record.indexOf("\ndata: ") + 7)) as LiveFleet
    }
  }
}

/** One connection, until it ends. Rejects when it breaks, is refused, or falls silent. */
export async function* once(admin: string, signal: AbortSignal): AsyncGenerator<LiveFleet> {
  const silence = new AbortController()
  const arm = () => setTimeout(() => silence.abort(new Error(`silent for ${silenceMs / 1_000} s`)), silenceMs)
  let timer = arm()
  const heard = (): void => {
    clearTimeout(timer)
    timer = arm()
  }
  try {
    const response = await fetch(`${admin}/admin/live`, { signal: AbortSignal.any([signal, silence.signal]) })
    if (!response.ok || response.body === null) throw new Error(await refusal(response))
    yield* fleets(response.body, heard)
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

export interface Listener {
  readonly told: (fleet: LiveFleet) => void
  readonly lost: (why: string) => void
}

/** For as long as `signal` lets it. What `once` rejects with is in words already. Rejects when the router cannot be reached at first; later it is tried again. */
export const follow = async (admin: string, listener: Listener, signal: AbortSignal): Promise<void> => {
  let everHeard = false
  while (!signal.aborted) {
    try {
      for await (const fleet of once(admin, signal)) {
        everHeard = true
        listener.told(fleet)
      }
      listener.lost("it ended the connection")
    } catch (error) {
      if (signal.aborted) return
      if (!everHeard) throw error
      listener.lost((error as Error).message)
    }
    await sleep(retryMs, undefined, { signal }).catch(() => {})
  }
}

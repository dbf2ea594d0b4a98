/** What a router that is killed and started again knows of engines' caches, as engines tell how much of prompts they had. */
import { setTimeout as sleep } from "node:timers/promises"
import { percentile } from "../client/Stats.ts"
import { type Fleet, type Router, startRouter } from "./Processes.ts"
import type { Answered, Sessions } from "./Sessions.ts"
import * as Stores from "./Stores.ts"

export interface Options {
  readonly perSecond: number
  readonly beforeMs: number
  readonly afterMs: number
  readonly say: (text: string) => void
}

export const windowMs = 250
/** Engines repeat no more than so many batches to the router that comes: a second or two of what they do. */
const ringBatches = 20
/** Of the hit rate before. */
export const goalShare = 0.95
/** A second's worth of requests must reach it: a window has too few. */
const goalWindows = 4

export interface Restarted {
  /** From the start of the process until it said that it was ready. */
  readonly readyMs: number
  readonly before: number
  readonly beforeMsP99: number
  /** For each window since it was ready; null where nothing was sent. */
  readonly windows: ReadonlyArray<number | null>
  /** End of the first window that begins a second with `goalShare` of what it was before; null: not within what was measured. */
  readonly backMs: number | null
  /** Of that, how long the router waited for a core that others had; null where the system does not tell. */
  readonly starvedMs: number | null
  /** p99 of whole requests that were sent in the first two seconds. */
  readonly afterMsP99: number
  readonly failed: number
  readonly firstFailure: string | null
}

const hitRate = (answers: ReadonlyArray<Answered>): number | null => {
  const prompt = answers.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  return prompt === 0 ? null : answers.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0) / prompt
}

const p99 = (answers: ReadonlyArray<Answered>): number =>
  percentile(
    answers.map(({ totalMs }) => totalMs),
    0.99
  ) ?? Number.NaN

/** What is looked at of `/admin/workers` and `/admin/store`. */
interface Workers {
  readonly workers: ReadonlyArray<{ readonly ranks: ReadonlyArray<{ readonly blocks: { readonly device: number } }> }>
}
interface StoreShown {
  readonly writing: { readonly queuedShares: number; readonly why: string; readonly names: Record<string, number> }
}

const get = async <A>(url: string): Promise<A> => (await (await fetch(url)).json()) as A

/** Until its index holds so many blocks, and its store what that holds. */
export const known = async ({ adminUrl }: Router, blocks: number, store: Stores.Store, say: Options["say"]) => {
  for (;;) {
    const { workers } = await get<Workers>(`${adminUrl}/admin/workers`)
    const held = workers.reduce((sum, { ranks }) => sum + (ranks[0]?.blocks.device ?? 0), 0)
    const writing = store === Stores.none ? null : (await get<StoreShown>(`${adminUrl}/admin/store`)).writing
    const isOnItsWay =
      writing !== null && ["asked", "waiting", "filling", "filled"].some((state) => writing.names[state]! > 0)
    if (held >= blocks && (writing === null || (writing.queuedShares === 0 && !isOnItsWay))) return
    say(`the router knows ${held} of ${blocks} blocks; ${writing?.queuedShares ?? 0} changes wait for its store`)
    await sleep(200)
  }
}

/** Measures before, kills the router, and measures from the moment on that another one, with this store, is ready. */
export const restart = async (
  fleet: Fleet,
  sessions: Sessions,
  router: Router,
  store: Stores.Store,
  { afterMs, beforeMs, perSecond, say }: Options
): Promise<{ readonly restarted: Restarted; readonly router: Router }> => {
  say("hit rate before")
  const play = sessions.play(router.url, perSecond)
  // The first connections are made, and code is warm.
  await sleep(beforeMs / 3)
  const warm = play.answered.length
  await sleep(beforeMs)
  const before = (await play.stop()).slice(warm)
  await fleet.shorten(ringBatches)
  await router.kill()
  say(`killed; started again with ${store.address}`)
  const next = await startRouter(fleet.urls, store.address)
  const readyAtMs = performance.now()
  const starved = [next.starvedMs()]
  const after = sessions.play(next.url, perSecond)
  for (let ms = windowMs; ms <= afterMs; ms += windowMs) {
    await sleep(readyAtMs + ms - performance.now())
    starved.push(next.starvedMs())
  }
  const all = (await after.stop()).toSorted((a, b) => a.sentMs - b.sentMs)
  const windows = Array.from({ length: Math.floor(afterMs / windowMs) }, (_, i) =>
    hitRate(all.filter(({ sentMs }) => Math.floor((sentMs - readyAtMs) / windowMs) === i))
  )
  const rate = hitRate(before) ?? Number.NaN
  const isBack = (from: number): boolean => {
    const [fromMs, toMs] = [readyAtMs + from * windowMs, readyAtMs + (from + goalWindows) * windowMs]
    const found = hitRate(all.filter(({ sentMs }) => sentMs >= fromMs && sentMs < toMs))
    return found !== null && found >= goalShare * rate
  }
  const back = windows.findIndex((_, i) => isBack(i))
  const starvedAt = starved[back < 0 ? starved.length - 1 : back + 1]
  const failures = [...before, ...all].filter(({ error }) => error !== null)
  return {
    router: next,
    restarted: {
      readyMs: next.readyMs,
      before: rate,
      beforeMsP99: p99(before),
      windows,
      backMs: back < 0 ? null : (back + 1) * windowMs,
      starvedMs: starvedAt == null || starved[0] == null ? null : starvedAt - starved[0],
      afterMsP99: p99(all.filter(({ sentMs }) => sentMs < readyAtMs + 2_000)),
      failed: failures.length,
      firstFailure: failures[0]?.error ?? null
    }
  }
}

/**
 * JudgeEvents: from what a worker's publishers said to findings. Pure. `others`: all workers that were visited, for events
 * that arrived at the wrong place.
 */
import type { Hasher } from "../hot/BlockHash.ts"
import * as Chains from "./Chains.ts"
import * as Finding from "./Finding.ts"
import * as Keys from "./Keys.ts"
import { type Heard, type Known, type Listened, type Probe, probeOf, type Seen } from "./Seen.ts"
import * as Tokens from "./Tokens.ts"

const what = "KV events"
/** By which clocks of one fleet may differ. */
const clockMs = 1_000

const heardOf = ({ listened }: Known): ReadonlyArray<Heard> => listened.flatMap(({ heard }) => heard)

/** The same tokens were also sent under a salt, which is another prompt. */
const ownChains = (heard: ReadonlyArray<Heard>, salted: string | null): ReadonlyArray<Chains.Chain> =>
  Chains.of(heard).filter(({ extra }) => salted === null || extra !== salted)

/** Whether events told of the cold probe's tokens, which are nobody else's. */
const tells = (heard: ReadonlyArray<Heard>, { prompt }: Probe, salted: string | null): boolean =>
  prompt._tag === "Tokens" && Chains.find(ownChains(heard, salted), prompt.ids) !== null

const saltOf = (known: Known): string | null => probeOf(known, "salted")?.salt ?? null

export interface Verdict {
  readonly findings: ReadonlyArray<Finding.WorkerFinding>
  /** What is said of usage and blocks would be said of another engine, or of none. */
  readonly isElsewhere: boolean
}

/** Two visits met two engines, or two requests did. */
const isBalanced = (known: Known, cold: Probe, warm: Probe | null): string | null => {
  const { again, facts } = known
  const isRestart = facts.startedAtMs !== null && again.startedAtMs !== null && facts.startedAtMs !== again.startedAtMs
  if (isRestart) return "two visits met two processes"
  if (JSON.stringify(facts.eventSources) !== JSON.stringify(again.eventSources)) {
    return "two visits were told of different event endpoints"
  }
  if (warm === null) return null
  const mine = heardOf(known)
  if ((warm.answer.cachedTokens ?? 0) > 0) return null
  const salt = saltOf(known)
  const isTold = tells(mine, cold, salt)
  const isEarly = tells(
    mine.filter(({ atMs }) => atMs <= warm.sentAtMs),
    cold,
    salt
  )
  if (isEarly && warm.answer.cachedTokens === 0) {
    return "its events tell of a prompt of which the same address has nothing cached a moment later"
  }
  if (isTold && !isEarly) return "its events tell of one of two equal requests"
  // Whatever its tokens are there, a new chat leaves new blocks.
  const chat = probeOf(known, "chat")
  if (chat === null || chat.answer.status !== 200) return null
  const isChatTold = Tokens.own(Chains.of(mine), cold).some(({ atMs }) => atMs > chat.sentAtMs)
  return isTold && !isChatTold ? "its events tell of one of two prompts, and nothing is known to be cached" : null
}

const silence = (seen: Seen, known: Known, cold: Probe, others: ReadonlyArray<Seen>): Finding.WorkerFinding => {
  const worker = seen.spec.id
  const { engine } = known.facts
  const mine = heardOf(known)
  const salt = saltOf(known)
  const crossed = others.find(
    (other) => other.spec.id !== worker && other.known !== null && tells(heardOf(other.known), cold, salt)
  )
  if (crossed !== undefined) {
    return Finding.wrong(worker, "events-crossed", what, `its own arrive at the endpoint of ${crossed.spec.id}`, engine)
  }
  const wide = known.listened.find(({ wide }) => wide !== null && tells(wide, cold, salt))
  if (wide !== undefined) {
    return Finding.wrong(worker, "events-topic", what, `none come under "${wide.source.topic}", others do`, engine)
  }
  const unreadable = mine.find(({ batch }) => batch === null)
  if (unreadable !== undefined) return Finding.wrong(worker, "events-unreadable", what, unreadable.why, engine)
  const warm = probeOf(known, "warm")?.answer.cachedTokens ?? null
  const chat = probeOf(known, "chat")
  const ids = chat?.local ?? chat?.remote ?? null
  if (ids !== null && Chains.find(Chains.of(mine), ids) !== null) {
    return Finding.wrong(worker, "events-incomplete", what, "of two prompts they tell of one only", engine)
  }
  if (mine.length > 0) {
    return Finding.wrong(
      worker,
      "events-crossed",
      what,
      `${mine.length} batches, none of what it was just asked`,
      engine
    )
  }
  if (warm !== null && warm > 0) {
    return Finding.wrong(worker, "events-silent", what, "connected, and none came of a prompt it cached", engine)
  }
  const told = warm === null ? "no cached tokens are reported" : "0 tokens of it are cached"
  return Finding.wrong(worker, "prefix-caching-off", what, `none came of a prompt sent twice, and ${told}`, engine)
}

const unreachable = (worker: string, engine: string, listened: ReadonlyArray<Listened>) =>
  listened
    .filter(({ connected }) => !connected)
    .map(({ source }) =>
      Finding.wrong(worker, "events-unreachable", what, `no publisher at ${source.endpoint}`, engine)
    )

const replays = (worker: string, engine: string, listened: ReadonlyArray<Listened>) =>
  listened
    .filter(({ connected }) => connected)
    .map(({ replay, source }) => {
      const name = "replay of events"
      if (replay === null) return Finding.wrong(worker, "no-replay", name, `${source.endpoint} has none`, engine)
      return replay === ""
        ? Finding.well(worker, name, "answers")
        : Finding.wrong(worker, "replay-silent", name, `${source.replayEndpoint}: ${replay}`, engine)
    })

/** What is told, once it is told here. */
const told = (seen: Seen, known: Known, cold: Probe, hasher: Hasher): ReadonlyArray<Finding.WorkerFinding> => {
  const worker = seen.spec.id
  const { engine, blockSize } = known.facts
  const { prompt } = cold
  if (prompt._tag !== "Tokens") return []
  const mine = known.listened.map(({ heard }) => heard).find((heard) => tells(heard, cold, saltOf(known))) ?? []
  const chains = ownChains(mine, saltOf(known))
  const { chain } = Chains.find(chains, prompt.ids)!
  const findings: Array<Finding.WorkerFinding> = []
  if (chain.extra !== "") {
    findings.push(
      Finding.wrong(worker, "salt-added", what, `a prompt without a salt is stored with "${chain.extra}"`, engine)
    )
  }
  if (blockSize !== null && blockSize !== chain.blockSize) {
    const value = `${blockSize} tokens as told, ${chain.blockSize} in events`
    findings.push(Finding.wrong(worker, "block-size", "block size", value, engine))
  }
  const { blocks, found } = Keys.find(hasher, known, prompt, chain.extra === "" ? null : chain.extra, mine)
  const count = `${found} of ${blocks} blocks are found by the router's own keys`
  findings.push(
    found === blocks
      ? Finding.well(worker, what, `${count}; ${mine.length} batches, by ${Math.max(0, chain.atMs - cold.sentAtMs)} ms`)
      : Finding.wrong(worker, "events-incomplete", what, count, engine)
  )
  // What came soonest was the least on its way.
  const offs = mine.filter(({ batch }) => (batch?.ts ?? 0) > 0).map(({ atMs, batch }) => batch!.ts * 1_000 - atMs)
  const off = offs.length === 0 ? 0 : offs.reduce((a, b) => (Math.abs(b) < Math.abs(a) ? b : a))
  const value = `${Math.abs(off / 1_000).toFixed(1)} s ${off > 0 ? "ahead of" : "behind"} this machine's`
  findings.push(
    Math.abs(off) > clockMs
      ? Finding.wrong(worker, "clock", "its clock", value, engine)
      : Finding.well(worker, "its clock", "as here, by its events")
  )
  return findings
}

export const judge = (seen: Seen, known: Known, others: ReadonlyArray<Seen>, hasher: Hasher): Verdict => {
  const worker = seen.spec.id
  const { engine } = known.facts
  const cold = probeOf(known, "cold")
  if (cold === null || cold.answer.status !== 200) return { findings: [], isElsewhere: true }
  const why = isBalanced(known, cold, probeOf(known, "warm"))
  if (why !== null) {
    return { findings: [Finding.wrong(worker, "balancer", "one engine", why, engine)], isElsewhere: true }
  }
  const { listened } = known
  if (listened.length === 0) {
    const { cachedTokens } = probeOf(known, "warm")?.answer ?? { cachedTokens: null }
    const findings = [Finding.wrong(worker, "events-off", what, "none are told of", engine)]
    if (cachedTokens === 0) {
      const value = "a prompt sent twice has 0 tokens cached"
      findings.push(Finding.wrong(worker, "prefix-caching-off", "prefix cache", value, engine))
    }
    return { findings, isElsewhere: false }
  }
  const away = unreachable(worker, engine, listened)
  const isTold = tells(heardOf(known), cold, saltOf(known))
  const spoken = isTold ? told(seen, known, cold, hasher) : away.length > 0 ? [] : [silence(seen, known, cold, others)]
  return { findings: [...away, ...spoken, ...replays(worker, engine, listened)], isElsewhere: false }
}

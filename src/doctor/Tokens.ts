/** Tokens: whether a prompt is to the engine what it is here. By the tokens in its events; without, by how many it counts. Pure. */
import * as Chains from "./Chains.ts"
import type { Probe } from "./Seen.ts"

export interface Comparison {
  /** `unknown`: there is nothing to compare, here or there. */
  readonly verdict: "same" | "different" | "unknown"
  /** Index of the first token that differs; null where only the lengths do, or nothing does. */
  readonly at: number | null
  readonly value: string
  /** The engine's own `/tokenize` gives what it then computes: the router may ask it instead. */
  readonly remoteAgrees: boolean
}

/**
 * The chains that may be of later probes: none where no chain tells of the cold one, for they are then not this engine's;
 * else all but those with the cold one's tokens, under whatever salt.
 */
export const own = (chains: ReadonlyArray<Chains.Chain>, { prompt }: Probe): ReadonlyArray<Chains.Chain> => {
  if (prompt._tag !== "Tokens") return []
  const others = chains.filter((chain) => Chains.find([chain], prompt.ids) === null)
  return others.length === chains.length ? [] : others
}

/** Of chains heard since the probe was sent, the one that is its, or is to be taken for it; null when there are none. */
const chainOf = (probe: Probe, ids: Uint32Array, chains: ReadonlyArray<Chains.Chain>): Chains.Match | null => {
  const since = chains.filter(({ atMs }) => atMs >= probe.sentAtMs)
  const match = Chains.find(since, ids)
  if (match !== null) return match
  // Every prompt is new, so its blocks were told of: what is nearest in length is what became of it.
  const expected = probe.answer.promptTokens ?? ids.length
  const off = ({ tokens }: Chains.Chain) => Math.abs(tokens.length - expected)
  const chain = since.filter(({ isRoot }) => isRoot).sort((a, b) => off(a) - off(b))[0]
  if (chain === undefined) return null
  let same = 0
  while (same < chain.tokens.length && chain.tokens[same] === ids[same]) same++
  return { chain, from: 0, same }
}

const agrees = (ids: Uint32Array, match: Chains.Match | null, promptTokens: number | null): boolean => {
  if (promptTokens !== null && promptTokens !== ids.length) return false
  if (match === null) return promptTokens !== null
  const { chain, from } = match
  // Blocks that generated tokens filled reach beyond the prompt.
  return chain.tokens.every((id, i) => from + i >= ids.length || ids[from + i] === id)
}

/** `chains`: of this engine's events. */
export const compare = (probe: Probe, chains: ReadonlyArray<Chains.Chain>): Comparison => {
  const { answer, local, remote } = probe
  const { promptTokens } = answer
  const ids = local ?? remote
  const unknown = { verdict: "unknown", at: null, value: "", remoteAgrees: false } as const
  if (ids === null || answer.status !== 200) return unknown
  const match = chainOf(probe, ids, chains)
  if (match === null && promptTokens === null) return unknown
  const remoteAgrees = remote !== null && agrees(remote, match, promptTokens)
  const how = match === null ? "counted, not seen" : "as in its events"
  const where = local === null ? "its /tokenize" : "here"
  if (agrees(ids, match, promptTokens)) {
    return { verdict: "same", at: null, value: `${ids.length} tokens ${where} and there, ${how}`, remoteAgrees }
  }
  const at = match === null || match.same === match.chain.tokens.length ? null : match.from + match.same
  const value =
    `${ids.length} tokens ${where}, ${promptTokens ?? match?.chain.tokens.length} there` +
    (at === null ? "" : `; token ${at} is ${ids[at] ?? "none"} ${where}, ${match?.chain.tokens[match.same]} there`)
  return { verdict: "different", at, value, remoteAgrees }
}

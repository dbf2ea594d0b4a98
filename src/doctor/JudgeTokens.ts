/** JudgeTokens: from two ways to tokenise a prompt, the router's and the engine's, to findings. Pure. */
import * as Chains from "./Chains.ts"
import * as Finding from "./Finding.ts"
import { type Known, probeOf } from "./Seen.ts"
import * as Tokens from "./Tokens.ts"

export const judge = (worker: string, known: Known): ReadonlyArray<Finding.WorkerFinding> => {
  const { facts, model, tokenizer } = known
  const { engine } = facts
  const cold = probeOf(known, "cold")
  const heard = Chains.of(known.listened.flatMap(({ heard }) => heard))
  const chains = cold === null ? [] : Tokens.own(heard, cold)
  const what = "tokens of a chat"
  const findings: Array<Finding.WorkerFinding> = []
  if (tokenizer.problem !== "") {
    const value = `${tokenizer.dir}: ${tokenizer.problem}`
    findings.push(Finding.wrong(worker, "tokenizer-files", "tokenizer files", value, engine))
  }
  const chat = probeOf(known, "chat")
  if (chat === null || chat.answer.status !== 200) return findings
  const compared = Tokens.compare(chat, chains)
  if (compared.verdict === "unknown") {
    if (chat.local === null && chat.remote === null && tokenizer.problem === "") {
      const value = `none was found for ${model}, and ${facts.tokenizes ? "its /tokenize takes no chats" : "it has no /tokenize"}`
      findings.push(Finding.wrong(worker, "tokenizer-missing", what, value, engine))
    }
    return findings
  }
  if (compared.verdict === "same") return [...findings, Finding.well(worker, what, compared.value)]
  const text = probeOf(known, "text")
  const isTemplate = text !== null && Tokens.compare(text, chains).verdict === "same"
  // A router sees that, and has the engine tokenise: slower, and right.
  const level = compared.remoteAgrees ? ("warning" as const) : ("fault" as const)
  const from = tokenizer.dir === null ? "" : ` (${tokenizer.dir})`
  const code = isTemplate ? "chat-template" : "tokenizer"
  return [...findings, Finding.wrong(worker, code, what, compared.value + from, engine, level)]
}

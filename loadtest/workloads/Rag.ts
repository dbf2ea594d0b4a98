/**
 * Rag: one question over retrieved passages.
 *
 * All requests share an instruction. Retrieved is the start of one document: its passages always in the same order, more or
 * fewer of them, so that two questions about one document share a prefix. A few documents are asked about often, most
 * seldom (Zipf).
 */
import * as Corpus from "./Corpus.ts"
import * as Random from "./Random.ts"
import type { Message, Session } from "./Workload.ts"
import { request } from "./Workload.ts"

const instruction =
  "You answer questions from the passages given and from nothing else. Quote the number of every passage you use, like [2]. When the passages do not hold the answer, say so and name what is missing. Keep names, options and units as they are written. Be brief."

const passageChars = 1_300
const skew = 1.1

const questions = [
  "What is this for, in two sentences?",
  "Which option changes the default behaviour, and what is that default?",
  "What happens when it fails, and who learns of it?",
  "Show the smallest example that uses it correctly.",
  "What must the caller close or release, and when?",
  "Which limits are stated, with their units?",
  "What changed for somebody who used an older version?"
]

export interface RagOptions {
  readonly corpus: Corpus.Corpus
  readonly model: string
  readonly seed: number
  readonly count: number
  /** How many documents questions are asked about. */
  readonly documents: number
  readonly answerTokens: number
}

/** `count` sessions of one request each. */
export const make = (options: RagOptions): ReadonlyArray<Session> => {
  const random = Random.make(options.seed, "rag")
  const library = options.corpus.prose
    .map((document) => Corpus.pieces(document.text, passageChars))
    .filter((passages) => passages.length >= 3)
    .slice(0, options.documents)
  const popular = Random.zipf(random, library.length, skew)
  return Array.from({ length: options.count }, (_, i): Session => {
    const passages = library[popular()]!.slice(0, Random.between(random, 3, 6))
    const question = Random.pick(random, questions)
    const messages: ReadonlyArray<Message> = [
      { role: "system", content: instruction },
      {
        role: "user",
        content: `${passages.map((text, n) => `Passage [${n + 1}]\n${text}`).join("\n\n")}\n\nQuestion: ${question}`
      }
    ]
    let asked = false
    return {
      id: `rag-${i}`,
      label: "rag",
      turns: 1,
      next: () => {
        if (asked) return null
        asked = true
        return request(options.model, options.answerTokens, messages)
      }
    }
  })
}

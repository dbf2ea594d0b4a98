/** Conversations with a router, as a client has them, and what is learned from each answer. */

export const model = "sim/qwen3"

export interface Turn {
  readonly worker: string
  readonly text: string
  readonly promptTokens: number
  /** Null when the engine does not say. */
  readonly cachedTokens: number | null
}

interface Body {
  readonly choices: ReadonlyArray<{ readonly message: { readonly content: string } }>
  readonly usage: {
    readonly prompt_tokens: number
    readonly prompt_tokens_details: { readonly cached_tokens: number } | null
  }
}

/** One chat request, answered whole; rejects with the answer when it is no success. */
export const ask = async (
  url: string,
  body: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {}
): Promise<Turn> => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model, max_tokens: 4, ...body })
  })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`)
  const { choices, usage } = JSON.parse(text) as Body
  return {
    worker: response.headers.get("x-warmpath-worker")!,
    text: choices[0]!.message.content,
    promptTokens: usage.prompt_tokens,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? null
  }
}

export interface Conversation {
  /** Asks the next question, with all that was said before. */
  readonly turn: (body?: Readonly<Record<string, unknown>>) => Promise<Turn>
}

/**
 * Begins with a document of `sentences`, some nine tokens each, and as many with `after` behind each; no two topics share
 * a block.
 */
export const conversation = (url: () => string, topic: string, sentences = 40, after = ""): Conversation => {
  const line = (i: number) => `${topic} says in line ${i} what it knows. ${after}`
  const document = Array.from({ length: sentences }, (_, i) => line(i)).join("")
  const messages: Array<{ role: string; content: string }> = []
  return {
    turn: async (body) => {
      // Long enough to fill blocks of its own.
      const question =
        messages.length === 0 ? `${topic}! ${document}` : `And what then, after ${messages.length}? `.repeat(10)
      messages.push({ role: "user", content: question })
      const turn = await ask(url(), { messages: [...messages], ...body })
      messages.push({ role: "assistant", content: turn.text })
      return turn
    }
  }
}

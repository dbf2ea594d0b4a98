/** Conversation: chat bodies whose last question is new each time, and the answers to them, checked. */
import autocannon from "autocannon"
import * as CannedWorker from "./CannedWorker.ts"

const words =
  "the cache of a worker holds blocks that were computed before and a router sends each prompt to them while it can".split(
    " "
  )

/** A conversation of about `bytes`, without its last question: the same every time. */
export const conversation = (bytes: number): string => {
  const messages: Array<string> = [JSON.stringify({ role: "system", content: "You are a careful assistant." })]
  let seed = 7
  for (let left = bytes - 300; left > 0; ) {
    let text = ""
    while (text.length < Math.min(left, 1_500)) {
      seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
      text += `${words[(seed >> 8) % words.length]} `
    }
    const message = JSON.stringify({ role: messages.length % 2 === 1 ? "user" : "assistant", content: text })
    messages.push(message)
    left -= message.length + 1
  }
  return messages.join(",")
}

let asked = 0
/** A body with a question that was never asked before. `canned` tells the worker how to answer. */
export const body = (history: string, stream: boolean, canned = "{}"): string =>
  `{"model":"${CannedWorker.model}","stream":${stream},"canned":${canned},"temperature":0.7,"max_tokens":256,` +
  `"messages":[${history},{"role":"user","content":"Question ${++asked}: what follows from the above, in a few words?"}]}`

/** Whole answers, each checked. Resolves with their number. */
export const answers = async (
  port: number,
  history: string,
  stream: boolean,
  amount: number,
  connections: number
): Promise<number> => {
  const wanted = stream ? CannedWorker.streamed(CannedWorker.chunksAtOnce) : CannedWorker.reply
  let right = 0
  await autocannon({
    url: `http://127.0.0.1:${port}/v1/chat/completions`,
    connections: Math.min(connections, amount),
    amount,
    sampleInt: 100,
    requests: [
      {
        method: "POST",
        headers: { "content-type": "application/json" },
        setupRequest: (asks) => ({ ...asks, body: body(history, stream) }),
        onResponse: (status, answer) => {
          if (status === 200 && answer === wanted) right++
        }
      }
    ]
  })
  if (right !== amount) throw new Error(`Of ${amount} answers ${right} were right: no figure is worth giving.`)
  return amount
}

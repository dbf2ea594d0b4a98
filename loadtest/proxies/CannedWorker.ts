/**
 * CannedWorker: a worker that costs next to nothing, on raw sockets. It says enough of vLLM's API to be found by a router,
 * and answers every prompt with the same bytes, so that what is measured is whatever stands before it.
 *
 * A body may ask, in its first bytes: `"canned":{"chunks":N}` streams N chunks, 20 per second, all streams in step as
 * those of an engine are; `"canned":{"hold":1}` sends the first chunk and falls silent. Otherwise a stream comes whole, at once.
 * A stream ends with its usage when `"include_usage":true` is asked for there, as engines do.
 *
 *   node CannedWorker.ts --delay MS --listeners N       prints its addresses
 */
import { type AddressInfo, createServer, type Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

export const model = "canned"
export const chunkEveryMs = 50

const created = 1_700_000_000
const record = (fields: object): string =>
  `data: ${JSON.stringify({ id: "chatcmpl-canned", object: "chat.completion.chunk", created, model, ...fields })}\n\n`
const token = (delta: object): string =>
  record({ choices: [{ index: 0, delta, logprobs: null, finish_reason: null, token_ids: null }] })
const usage = {
  prompt_tokens: 400,
  total_tokens: 416,
  completion_tokens: 16,
  prompt_tokens_details: { cached_tokens: 384 }
}

/** The answer to a prompt that is not streamed. */
export const reply = JSON.stringify({
  id: "chatcmpl-canned",
  object: "chat.completion",
  created,
  model,
  choices: [
    { index: 0, message: { role: "assistant", content: "A canned answer." }, logprobs: null, finish_reason: "stop" }
  ],
  usage
})
const first = token({ role: "assistant", content: "" })
/** One streamed token. */
export const chunk = token({ content: " token" })
const last = "data: [DONE]\n\n"
/** The payload of a stream of `chunks` tokens for a client that did not ask for usage. */
export const streamed = (chunks: number): string => first + chunk.repeat(chunks) + last
/** Tokens of a stream that comes at once. */
export const chunksAtOnce = 3

const framed = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const json = (body: string): Buffer =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
const streamHead =
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"

const wholeBytes = json(reply)
const openBytes = Buffer.from(streamHead + framed(first))
const chunkBytes = Buffer.from(framed(chunk))
const ending = (text: string) => {
  const end = Buffer.from(`${framed(text)}0\r\n\r\n`)
  return { end, atOnce: Buffer.concat([openBytes, ...Array.from({ length: chunksAtOnce }, () => chunkBytes), end]) }
}
const bare = ending(last)
const withUsage = ending(record({ choices: [], usage }) + last)

const found = new Map([
  [
    "/v1/models",
    json(
      JSON.stringify({
        object: "list",
        data: [
          {
            id: model,
            object: "model",
            created,
            owned_by: "vllm",
            root: fileURLToPath(new URL("../fleet/model", import.meta.url)),
            parent: null,
            max_model_len: 131_072
          }
        ]
      })
    )
  ],
  ["/health", json("")],
  [
    "/metrics",
    json(
      `vllm:num_requests_running{engine="0"} 0\nvllm:num_requests_waiting{engine="0"} 0\nvllm:kv_cache_usage_perc{engine="0"} 0\nvllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="100000"} 1\nprocess_start_time_seconds ${created}\n`
    )
  ]
])
const missing = Buffer.from("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

/** Streams in step: the tokens each still has to come, and its end. */
const open = new Map<Socket, { left: number; readonly end: Buffer }>()

const answer = (socket: Socket, head: string, body: Buffer): void => {
  const path = head.slice(head.indexOf(" ") + 1, head.indexOf(" ", 5))
  if (!path.endsWith("/completions")) return void socket.write(found.get(path) ?? missing)
  const start = body.toString("latin1", 0, 200)
  if (!start.includes('"stream":true')) return void socket.write(wholeBytes)
  const chunks = Number(/"chunks":(\d+)/.exec(start)?.[1] ?? 0)
  const { atOnce, end } = start.includes('"include_usage":true') ? withUsage : bare
  if (chunks === 0 && !start.includes('"hold":1')) return void socket.write(atOnce)
  socket.write(openBytes)
  if (chunks > 0) open.set(socket, { left: chunks, end })
}

const serve = (socket: Socket, delayMs: number): void => {
  let held: Buffer = Buffer.alloc(0)
  let parts: Array<Buffer> = []
  let head = ""
  let left = -1
  const finish = (): void => {
    const [asked, body] = [head, parts.length === 1 ? parts[0]! : Buffer.concat(parts)]
    parts = []
    left = -1
    if (delayMs === 0) answer(socket, asked, body)
    else setTimeout(answer, delayMs, socket, asked, body)
  }
  socket.on("data", (bytes: Buffer) => {
    let rest = bytes
    if (left === -1) {
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes])
      const end = held.indexOf("\r\n\r\n")
      if (end === -1) return
      head = held.toString("latin1", 0, end)
      left = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      rest = held.subarray(end + 4)
      held = held.subarray(0, 0)
    }
    parts.push(rest)
    left -= rest.length
    if (left <= 0) finish()
  })
  socket.on("error", () => socket.destroy())
  socket.on("close", () => open.delete(socket))
}

const main = (): void => {
  const { values } = parseArgs({ options: { delay: { type: "string" }, listeners: { type: "string" } } })
  setInterval(() => {
    for (const [socket, stream] of open) {
      socket.write(chunkBytes)
      if (--stream.left > 0) continue
      open.delete(socket)
      socket.write(stream.end)
    }
  }, chunkEveryMs)
  for (let i = 0; i < Number(values.listeners ?? 1); i++) {
    const server = createServer({ noDelay: true }, (socket) => serve(socket, Number(values.delay ?? 0)))
    server.listen(0, "127.0.0.1", 4_096, () => {
      console.log(`listens at http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    })
  }
}

if (import.meta.main) main()

/** Writes one HTTP answer, whole or as a stream, and cuts the connection on the way when a fault wants it. */
import type { ServerResponse } from "node:http"
import type { Json } from "./Model.ts"

export class Reply {
  readonly #response: ServerResponse
  /** Body bytes after which the connection is cut; Infinity for never. */
  #left: number

  constructor(response: ServerResponse, dieAfterBytes = Number.POSITIVE_INFINITY) {
    this.#response = response
    this.#left = dieAfterBytes
  }

  json(status: number, body: Json | ReadonlyArray<unknown>): void {
    this.whole(status, "application/json", JSON.stringify(body))
  }

  whole(status: number, type: string, text: string): void {
    const bytes = Buffer.from(text, "utf8")
    if (this.#cutNow()) return
    this.#response.writeHead(status, { "content-type": type, "content-length": bytes.length })
    this.#write(bytes)
    this.#end()
  }

  /** Begins an event stream; its status line leaves at once, as the engine's does. */
  stream(): void {
    if (this.#cutNow()) return
    this.#response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" })
    this.#response.flushHeaders()
  }

  event(json: Json): void {
    this.#write(Buffer.from(`data: ${JSON.stringify(json)}\n\n`, "utf8"))
  }

  done(): void {
    this.#write(Buffer.from("data: [DONE]\n\n", "utf8"))
    this.#end()
  }

  #cutNow(): boolean {
    if (this.#left > 0) return false
    this.#response.socket?.destroy()
    return true
  }

  #write(bytes: Buffer): void {
    if (this.#left === 0) return
    if (bytes.length <= this.#left) {
      this.#left -= bytes.length
      this.#response.write(bytes)
    } else {
      this.#response.write(bytes.subarray(0, this.#left))
      this.#left = 0
    }
    // What was written still leaves; the end of the answer never does.
    if (this.#left === 0) this.#response.socket?.destroySoon()
  }

  #end(): void {
    if (this.#left > 0) this.#response.end()
  }
}

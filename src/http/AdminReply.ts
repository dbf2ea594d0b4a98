/** What the admin API answers with, and what it reads of a request. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { Result } from "effect"

export type Reply =
  | { readonly status: number; readonly json: unknown; readonly headers?: Readonly<Record<string, string>> }
  | { readonly status: number; readonly text: string; readonly type: string }
  | { readonly status: number; readonly pieces: Iterable<string> }
  | { readonly status: number; readonly bytes: Buffer; readonly headers: Readonly<Record<string, string>> }
  /** Written by `live` for as long as the client stays. */
  | { readonly status: number; readonly live: (response: ServerResponse) => void }

/** What answers for one name under `/admin/`, or for one path at the top. `rest`: what of the path follows it, decoded. */
export type Room = (request: IncomingMessage, url: URL, rest: ReadonlyArray<string>) => Reply | Promise<Reply>

export const fault = (
  status: number,
  code: string,
  message: string,
  fix: string,
  headers: Readonly<Record<string, string>> = {}
): Reply => ({ status, json: { error: { code, message, fix } }, headers })

/** The text of a body that says it is JSON, of at most so many bytes; else what to answer. `form`: what to send. */
export const bodyOf = async (
  request: IncomingMessage,
  bytesMax: number,
  form: string
): Promise<Result.Result<string, Reply>> => {
  // Anything but JSON could come from a form on someone's page.
  const type = request.headers["content-type"] ?? ""
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    return Result.fail(fault(415, "not_json", `The content-type is "${type}".`, "Use application/json."))
  }
  const parts: Array<Buffer> = []
  let bytes = 0
  // Not destroyed on return: the answer goes out on the same socket.
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > bytesMax) {
      const close = { connection: "close" }
      return Result.fail(fault(413, "body_too_large", `The body is longer than ${bytesMax} bytes.`, form, close))
    }
    parts.push(part)
  }
  return Result.succeed(Buffer.concat(parts).toString("utf8"))
}

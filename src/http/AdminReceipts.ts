/**
 * GET /admin/receipts and /admin/receipts/ID: why requests went where they went.
 *
 * A list is of lines, the newest first: ?limit= (50; 1 000 at most), ?before=ID for the next page, ?worker= and ?outcome= to
 * choose. By its id a request's whole receipt is told.
 */
import type { Receipts } from "../../actors/Receipts.ts"
import type { ReceiptOutcome } from "../domain/Receipt.ts"
import { fault, type Reply, type Room } from "./AdminReply.ts"
import type { Settled } from "./Request.ts"

const limitDefault = 50
const limitMax = 1_000

const outcomes: ReadonlyArray<ReceiptOutcome> = ["ok", "client_error", "worker_error", "missing", "died", "cancelled"]
const isOutcome = (text: string): text is ReceiptOutcome => (outcomes as ReadonlyArray<string>).includes(text)

/** What is answered where none are made. */
const off = fault(
  404,
  "no_receipts",
  "This router makes no receipts: receiptsMax is 0.",
  "Start it with --receipts-max 2000, or leave that out."
)

/** When the oldest that is still here came. */
const since = (receipts: Pick<Receipts<Settled>, "records">): string => {
  const oldest = receipts.records().at(-1)
  return oldest === undefined ? "" : `, here since ${new Date(oldest.trail.epochMs).toISOString()}`
}

const list = ({ searchParams }: URL, receipts: Pick<Receipts<Settled>, "lines">): Reply => {
  const limit = searchParams.get("limit") ?? String(limitDefault)
  if (!/^\d{1,9}$/.test(limit) || Number(limit) < 1 || Number(limit) > limitMax) {
    return fault(400, "bad_page", `limit is "${limit}".`, `Use a whole number from 1 to ${limitMax}.`)
  }
  const outcome = searchParams.get("outcome")
  if (outcome !== null && !isOutcome(outcome)) {
    return fault(400, "bad_outcome", `outcome is "${outcome}".`, `Use one of ${outcomes.join(", ")}.`)
  }
  const wanted = { before: searchParams.get("before"), worker: searchParams.get("worker"), outcome }
  return { status: 200, json: { receipts: receipts.lines(Number(limit), wanted) } }
}

/** `receipts` is null where none are made; `max`: how many are kept. */
export const room =
  (receipts: Pick<Receipts<Settled>, "find" | "lines" | "records"> | null, max: number): Room =>
  (request, url, rest) => {
    const [id, ...more] = rest
    const { method } = request
    if (method !== "GET" && method !== "HEAD") {
      return fault(405, "wrong_method", `${url.pathname} does not take ${method}.`, "Use GET.", { allow: "GET" })
    }
    if (receipts === null) return off
    if (id === undefined || id === "") return list(url, receipts)
    const found = more.length > 0 ? null : receipts.find(id)
    if (found !== null) return { status: 200, json: found }
    return fault(
      404,
      "unknown_receipt",
      `There is no receipt "${[id, ...more].join("/").slice(0, 200)}".`,
      `Its id is the x-request-id of its answer, and comes once that has ended. The newest ${max} are kept${since(receipts)}: ` +
        "raise receiptsMax, write them to a receiptsFile, or ask the router that served it."
    )
  }

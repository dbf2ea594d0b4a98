/** Failure: what the client says when something failed, as an error of the port. */
import { JetStreamApiError } from "@nats-io/jetstream"
import { errors, TimeoutError } from "@nats-io/transport-node"
import { BusError } from "../../ports/Bus.ts"

/** Codes of JetStream's API. Source: nats-io/nats-server `server/errors.json`. */
const noStream = 10059
const wrongLast = [10071, 10164]

const isNamed = (error: unknown, ...names: ReadonlyArray<string>): boolean =>
  error instanceof Error && names.includes(error.name)

export const isMissing = (error: unknown): boolean =>
  (error instanceof JetStreamApiError && error.code === noStream) || isNobody(error)

export const isRaced = (error: unknown): boolean => error instanceof JetStreamApiError && wrongLast.includes(error.code)

/** No one takes that subject: no stream, or one without a leader. The client calls it `JetStreamNotEnabled`. */
export const isNobody = (error: unknown): boolean =>
  isNamed(error, "JetStreamNotEnabled", "NoRespondersError") ||
  (error instanceof errors.RequestError && error.isNoResponders())

export const isLate = (error: unknown): boolean => error instanceof TimeoutError || isNamed(error, "TimeoutError")

const isAway = (error: unknown): boolean =>
  isNamed(error, "ClosedConnectionError", "DrainingConnectionError") ||
  (error instanceof errors.RequestError && /closed|disconnected|cancelled/.test(error.message))

export const wordsOf = (error: unknown): string =>
  isNobody(error)
    ? "no stream takes it: it is gone, or has no leader"
    : isLate(error)
      ? "no answer in time"
      : error instanceof Error
        ? error.message
        : String(error)

export const away = (what: string): BusError => new BusError({ what, reason: "away", detail: "not connected" })

export const nobody = (what: string, detail: string): BusError => new BusError({ what, reason: "nobody", detail })

export const refused = (what: string, detail: string): BusError => new BusError({ what, reason: "refused", detail })

export const late = (what: string, detail: string): BusError => new BusError({ what, reason: "late", detail })

export const busError = (what: string, error: unknown): BusError => {
  if (error instanceof BusError) return error
  const reason = isAway(error) ? "away" : isLate(error) ? "late" : "refused"
  return new BusError({ what, reason, detail: wordsOf(error) })
}

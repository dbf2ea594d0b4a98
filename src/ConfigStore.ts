/** ConfigStore: the knobs of the metadata store. With `store: none` none of the others counts. */
import { type Redacted, Schema } from "effect"
import { between, bytes, knob, MiB, ms } from "./ConfigKnob.ts"

const kinds = "sqlite:FILE, redis://, rediss://, redis-cluster://, redis-sentinel:// or rdma://"
const protocols = new Set([
  "redis:",
  "rediss:",
  "redis-cluster:",
  "rediss-cluster:",
  "redis-sentinel:",
  "rediss-sentinel:",
  "rdma:"
])

const withoutPassword = "must not have a password in it: that is storePassword (WARMPATH_STORE_PASSWORD)"
const isStore = Schema.makeFilter((text: string) => {
  if (text === "none" || text === "sqlite" || /^sqlite:.+/.test(text)) return true
  // Several hosts make no URL by the standard.
  const url = URL.canParse(text.replace(/,[^/?]*/, "")) ? new URL(text.replace(/,[^/?]*/, "")) : null
  if (url === null || !protocols.has(url.protocol) || url.hostname === "") {
    return `must be sqlite, none, or an address: ${kinds}`
  }
  // Of any host: only the first is seen as a URL.
  return !/^[^?]*:[^/?,]*@/.test(text.slice(url.protocol.length + 2)) || withoutPassword
})

const file = (why: string) => knob<string | null>(Schema.NonEmptyString, null, why)
const secret = (why: string, env: string) =>
  knob<Redacted.Redacted<string> | null>(Schema.RedactedFromValue(Schema.NonEmptyString), null, why, { env })

export const knobs = {
  store: knob(
    Schema.String.check(isStore),
    "sqlite",
    `Where it is remembered what engines hold: ${kinds}, or none; sqlite, a file named by the port in the user's state folder, since that needs no server (none with port 0, or with simulated engines).`,
    { env: "WARMPATH_STORE" }
  ),
  storeUser: knob<string | null>(
    Schema.NonEmptyString,
    null,
    "User at Redis, with storePassword; none, as its default user has no name.",
    { env: "WARMPATH_STORE_USER" }
  ),
  storePassword: secret(
    "Password at Redis; none, and better in the environment than on a command line.",
    "WARMPATH_STORE_PASSWORD"
  ),
  storeToken: secret("Token at memory nodes (rdma://); none, as on a closed network.", "WARMPATH_STORE_TOKEN"),
  storeTlsCa: file("Authorities that the store's certificate is checked with, PEM; those that the system trusts."),
  storeTlsCert: file("Certificate to show to the store, PEM, with storeTlsKey; none, unless it verifies its clients."),
  storeTlsKey: file("Key of that certificate, PEM, in a file of its own; none, as without a certificate."),
  storeTtlMs: ms(
    7_200_000,
    "Time the store keeps what nobody writes again; routers write theirs again within half of it.",
    60_000
  ),
  storeLookupMs: knob(
    between(0, 1_000),
    5,
    "Longest time a request waits for the store when the index knows only its beginning, ten times that in the first seconds after a start; far less than the prefill it may save. 0: never asked.",
    { unit: "ms" }
  ),
  storeBytesMax: bytes(1024 * MiB, "Largest sqlite file; some 60 million blocks.", MiB)
}

type Given = { readonly [K in keyof typeof knobs]: (typeof knobs)[K]["fallback"] }

/** What single knobs cannot see. */
export const together = (config: Given): ReadonlyArray<string> =>
  (config.storeTlsCert === null) === (config.storeTlsKey === null)
    ? []
    : ["storeTlsCert and storeTlsKey belong together: give both or neither"]

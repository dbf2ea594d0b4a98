/** ConfigNats: the knobs of several replicas as one. Without `nats` a router is alone, and none of the others counts. */
import { type Redacted, Schema } from "effect"
import { between, bytes, knob, listed, MiB, ms, numeric } from "./ConfigKnob.ts"

const isServer = Schema.makeFilter((text: string) => {
  const url = URL.canParse(text) ? new URL(text) : null
  return (
    (url !== null &&
      (url.protocol === "nats:" || url.protocol === "tls:") &&
      url.hostname !== "" &&
      url.username === "" &&
      url.password === "") ||
    "must be an address like nats://10.0.0.2:4222 or tls://…, without user or password: those are natsUser and natsPassword"
  )
})

const isWord = Schema.isPattern(/^[A-Za-z0-9-]{1,64}$/, { message: "must be 1 to 64 of A-Z a-z 0-9 -" })
const file = (why: string) => knob<string | null>(Schema.NonEmptyString, null, why)
const secret = (why: string, env: string) =>
  knob<Redacted.Redacted<string> | null>(Schema.RedactedFromValue(Schema.NonEmptyString), null, why, { env })

export const knobs = {
  nats: knob<ReadonlyArray<string>>(
    Schema.Array(Schema.String.check(isServer)),
    [],
    "NATS servers, with JetStream, that several routers share what they know through; none, since one router needs none.",
    { env: "WARMPATH_NATS", shape: listed }
  ),
  deployment: knob(
    Schema.String.check(isWord),
    "default",
    "Name of what the routers on one NATS share; another one for each fleet on it.",
    { env: "WARMPATH_DEPLOYMENT" }
  ),
  replicaId: knob<string | null>(
    Schema.String.check(isWord),
    null,
    "Name of this router among the others, unique; made of the host's name and a random part, since hosts may run several.",
    { env: "WARMPATH_REPLICA_ID" }
  ),
  natsUser: knob<string | null>(
    Schema.NonEmptyString,
    null,
    "User at NATS, with natsPassword; none, as on a closed network.",
    {
      env: "WARMPATH_NATS_USER"
    }
  ),
  natsPassword: secret(
    "Password at NATS; none, and better in the environment than on a command line.",
    "WARMPATH_NATS_PASSWORD"
  ),
  natsToken: secret(
    "Token at NATS, in place of user and password; none, as few servers use it.",
    "WARMPATH_NATS_TOKEN"
  ),
  natsCredsFile: file("Credentials file (`.creds`: JWT and seed) for NATS; none, unless its accounts want one."),
  natsNkeyFile: file("File with an nkey seed for NATS; none, unless its accounts want one."),
  natsTlsCa: file("Authorities that NATS servers' certificates are checked with, PEM; those that the system trusts."),
  natsTlsCert: file(
    "Certificate to show to NATS servers, PEM, with natsTlsKey; none, unless they verify their clients."
  ),
  natsTlsKey: file("Key of that certificate, PEM, in a file of its own; none, as without a certificate."),
  natsReplicas: knob(
    between(1, 5),
    1,
    "Copies of the log and the tables in a JetStream cluster; 3 there survive the loss of a server, and a single server can keep only one.",
    { unit: "copies", shape: numeric }
  ),
  natsStorage: knob(
    Schema.Literals(["file", "memory"]),
    "memory",
    "Where NATS keeps the log; memory, since a log that is lost is read anew from engines and other routers."
  ),
  natsLogBytesMax: bytes(
    256 * MiB,
    "Most bytes of KV events in the log; the last minutes of a large fleet, older ones come from other routers.",
    MiB
  ),
  natsLogAgeMs: ms(
    600_000,
    "Longest time KV events stay in the log; whoever was away longer asks another router.",
    1_000
  )
}

type Given = { readonly [K in keyof typeof knobs]: (typeof knobs)[K]["fallback"] }

/** What single knobs cannot see. */
export const together = (config: Given): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const ways = [
    ["natsUser", config.natsUser],
    ["natsToken", config.natsToken],
    ["natsCredsFile", config.natsCredsFile],
    ["natsNkeyFile", config.natsNkeyFile]
  ].flatMap(([name, value]) => (value === null ? [] : [name]))
  if (ways.length > 1) problems.push(`${ways.join(" and ")} are all given: choose one way to log in to NATS`)
  if ((config.natsUser === null) !== (config.natsPassword === null)) {
    problems.push("natsUser and natsPassword belong together: give both or neither")
  }
  if ((config.natsTlsCert === null) !== (config.natsTlsKey === null)) {
    problems.push("natsTlsCert and natsTlsKey belong together: give both or neither")
  }
  return problems
}

/**
 * Findings: whether a router could share what it knows by this NATS. Nothing is made: stream and buckets are looked at
 * where they are; one message is published to ourselves, under a subject that nobody else hears.
 */
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream"
import type { NatsConnection } from "@nats-io/transport-node"
import * as Connect from "./Connect.ts"
import { isMissing, isNobody, wordsOf } from "./Failure.ts"
import * as Layout from "./Layout.ts"
import type { Options } from "./NatsBus.ts"
import * as Subjects from "./Subjects.ts"

export interface NatsFinding {
  /** Null: all is well. */
  readonly code: "nats-away" | "nats-version" | "nats-jetstream" | "nats-rights" | "nats-layout" | null
  readonly what: string
  readonly value: string
}

const trips = 20
const answerMs = 3_000
const echoMs = 1_000

const jetStreamOff = (error: unknown): boolean =>
  isNobody(error) ||
  (error instanceof JetStreamApiError && [Layout.codes.notForAccount, Layout.codes.notForServer].includes(error.code))

/** What the server says of rights, as it comes: refusals of what was published arrive later than it was sent. */
const refusals = (nc: NatsConnection): ReadonlyArray<string> => {
  const found: Array<string> = []
  const listen = async () => {
    for await (const status of nc.status()) if (status.type === "error") found.push(status.error.message)
  }
  listen().catch(() => {})
  return found
}

/** A message to ourselves. */
const echoes = async (nc: NatsConnection, subject: string): Promise<boolean> => {
  let arrived = false
  const subscription = nc.subscribe(subject, {
    callback: (error) => {
      if (error === null) arrived = true
    }
  })
  nc.publish(subject)
  for (let waited = 0; !arrived && waited < echoMs; waited += 20) await sleep(20)
  if (!nc.isClosed()) subscription.unsubscribe()
  return arrived
}

const layout = async (nc: NatsConnection, { deployment, log, tables }: Options): Promise<NatsFinding> => {
  const what = "stream and buckets"
  const subjects = Subjects.make(deployment)
  const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: answerMs })
  const wanted = [
    Layout.logConfig(subjects, log),
    ...Subjects.tableNames.map((name) => Layout.tableConfig(subjects.bucket(name), tables))
  ]
  const missing: Array<string> = []
  for (const one of wanted) {
    try {
      const problem = Layout.conflict((await jsm.streams.info(one.name)).config, one)
      if (problem !== "") return { code: "nats-layout", what, value: problem }
    } catch (error) {
      if (jetStreamOff(error)) return { code: "nats-jetstream", what, value: wordsOf(error) }
      if (!isMissing(error)) return { code: "nats-rights", what, value: `${one.name}: ${wordsOf(error)}` }
      missing.push(one.name)
    }
  }
  return {
    code: null,
    what,
    value: missing.length === 0 ? "as configured" : `${missing.join(", ")} made by the first router`
  }
}

const examined = async (nc: NatsConnection, options: Options): Promise<ReadonlyArray<NatsFinding>> => {
  const version = nc.info?.version ?? ""
  const old = Connect.versionProblem(version)
  const refused = refusals(nc)
  const taken: Array<number> = []
  for (let i = 0; i < trips; i++) taken.push(await nc.rtt())
  const median = taken.sort((a, b) => a - b)[trips >> 1]!
  const subject = Subjects.make(options.deployment).full(`doctor.${randomUUID()}`)
  const arrived = await echoes(nc, subject)
  const streams = await layout(nc, options)
  const rights = refused.filter((message) => /permission/i.test(message))
  return [
    { code: old === "" ? null : "nats-version", what: "nats", value: old === "" ? `nats-server ${version}` : old },
    { code: null, what: "round trip", value: `p50 ${median.toFixed(1)} ms` },
    arrived && rights.length === 0
      ? { code: null, what: "rights", value: "publishes, and hears itself" }
      : {
          code: "nats-rights",
          what: "rights",
          value: rights[0] ?? `what is published to ${subject} does not come back`
        },
    streams
  ]
}

/** Never rejects: what cannot be done is a finding, too. */
export const all = async (options: Options): Promise<ReadonlyArray<NatsFinding>> => {
  let nc: NatsConnection
  try {
    nc = await Connect.open(options)
  } catch (error) {
    return [{ code: "nats-away", what: "nats", value: Connect.failure(error, options) }]
  }
  try {
    return await examined(nc, options)
  } catch (error) {
    return [{ code: "nats-away", what: "nats", value: wordsOf(error) }]
  } finally {
    await nc.close().catch(() => {})
  }
}

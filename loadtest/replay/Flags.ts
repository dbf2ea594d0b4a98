/** Flags of `warmpath replay`. */
import { Schema } from "effect"
import { Argument, type Command, Flag } from "effect/cli"
import * as Choice from "./Choice.ts"
import * as Profiles from "./Profiles.ts"
import * as Variants from "./receipts/Variants.ts"

const above0 = Schema.Finite.check(Schema.isGreaterThan(0))
const atMost = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum }))
const about = <A>(text: string) => Flag.withDescription<A>(text)
const finite = (name: string, text: string) =>
  Flag.Finite(name).pipe(Flag.withSchema(above0), Flag.optional, about(text))
const text = (name: string, words: string) => Flag.String(name).pipe(Flag.optional, about(words))

export const defaults = { workers: 8, cache: "medium", load: 0.8, sessions: 48, exchangeMs: 50 }

export const flags = {
  files: Argument.String("trace").pipe(
    Argument.variadic(),
    Argument.withDescription(
      "File of requests, gzip or plain: Mooncake's JSON lines and others, see loadtest/replay/README.md. With --receipts any number of files"
    )
  ),
  list: Flag.Boolean("list").pipe(Flag.withDefault(false), about("Name every policy, and what it does")),
  policy: Flag.String("policy").pipe(
    Flag.atLeast(0),
    about(`Policy to run; may be repeated; "all" runs all. Default ${Choice.usual.join(", ")}`)
  ),
  workers: Flag.Int("workers").pipe(
    Flag.withSchema(atMost(1_000)),
    Flag.withDefault(defaults.workers),
    about(`Simulated engines. Default ${defaults.workers}`)
  ),
  profile: Flag.Literals("profile", Profiles.profileNames).pipe(
    Flag.optional,
    about(
      `What they stand for: ${Profiles.profileNames.map((name) => `${name}, ${Profiles.profiles[name].about}`).join("; ")}. ` +
        "Default llama70 for arrivals, mla for sessions"
    )
  ),
  cache: Flag.String("cache").pipe(
    Flag.withDefault(defaults.cache),
    about(`Cache of each: ${Profiles.cacheSizes.join(", ")}, or tokens. Default ${defaults.cache}`)
  ),
  load: finite("load", `Arrivals: share of what the fleet could serve at most. Default ${defaults.load}`),
  copies: finite("copies", "Arrivals, instead of --load: so many copies of the trace at once"),
  sessions: finite("sessions", `Sessions: alive at once, per worker. Default ${defaults.sessions}`),
  blockSize: Flag.Int("block-size").pipe(
    Flag.withSchema(atMost(65_536)),
    Flag.optional,
    about(
      "Tokens that an id of the trace stands for, where it is not what its format has (Mooncake's 512, Bailian's 16)"
    )
  ),
  until: finite("until", "Minutes of the trace's time. Default all of it; of sessions two hours"),
  seeds: Flag.Int("seeds").pipe(
    Flag.withSchema(atMost(100)),
    Flag.withDefault(1),
    about("Seeds to repeat it under; figures are medians. Default 1")
  ),
  routers: Flag.Int("routers").pipe(
    Flag.withSchema(atMost(64)),
    Flag.withDefault(1),
    about("So many replicas of warmpath, requests dealt to them in turn. Default 1")
  ),
  exchangeMs: text(
    "exchange-ms",
    `With --routers: how late they hear of each other's requests, or "none". Default ${defaults.exchangeMs}`
  ),
  json: text("json", "File for all results as JSON"),
  picture: text("picture", "File for a picture: a page (.html), or the distribution of TTFT (.svg)"),
  decisions: text(
    "decisions",
    "File for every decision of warmpath under the first seed, with all it followed from, as JSON lines; gzip if called .gz"
  ),
  recompute: text("recompute", "Instead of a trace: a file of --decisions, each of which is made again and compared"),
  request: Flag.Int("request").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
    Flag.optional,
    about("With --recompute: only the decision on this line, as a table: why this worker")
  ),
  receipts: Flag.Boolean("receipts").pipe(
    Flag.withDefault(false),
    about(
      "The files are receipts of a router, as --receipts-file writes them, set-aside ones too: each placement is made again, and judged under other weights"
    )
  ),
  weights: Flag.String("weights").pipe(
    Flag.atLeast(0),
    about(
      `With --receipts: judge under these, as decode=0.1,space=1; may be repeated. Default each left out, and each doubled. They are ${Variants.now()}`
    )
  ),
  offline: Flag.Boolean("offline").pipe(
    Flag.withDefault(false),
    about("Simulated engines in virtual time, in this process: what is done without --url")
  ),
  url: text("url", "Address of a running router to send it all to, in real time, instead"),
  model: text("model", "With --url: model to ask for. Default the first it serves"),
  admin: text("admin", "With --url: its admin address, which names its workers"),
  speed: finite("speed", "With --url: times as fast as the trace, over engines that are as much faster. Default 1")
}

export type Given = Command.Command.Config.Infer<typeof flags>

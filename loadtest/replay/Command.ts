/** `warmpath replay`: runs what its flags say, and shows what it came to. */
import { existsSync, writeFileSync } from "node:fs"
import { basename, dirname } from "node:path"
import { Effect, Option } from "effect"
import { CliError, Command } from "effect/cli"
import picocolors from "picocolors"
import * as Choice from "./Choice.ts"
import { flags, type Given } from "./Flags.ts"
import * as Offline from "./Offline.ts"
import * as Online from "./Online.ts"
import * as Plan from "./Plan.ts"
import * as Prepare from "./Prepare.ts"
import * as Progress from "./Progress.ts"
import * as Recompute from "./Recompute.ts"
import * as Replicas from "./Replicas.ts"
import * as Receipts from "./receipts/Receipts.ts"
import * as Variants from "./receipts/Variants.ts"
import * as Json from "./report/Json.ts"
import * as Picture from "./report/Picture.ts"
import * as Rescored from "./report/Rescored.ts"
import * as Table from "./report/Table.ts"
import * as Why from "./report/Why.ts"

const pictures: Readonly<Record<string, (document: Json.Document) => string>> = { html: Picture.html, svg: Picture.svg }

/** Before anything is run for a long time: whether its results have somewhere to go. */
const checkFiles = ({ decisions, json, picture }: Given): void => {
  for (const file of [decisions, json, picture].flatMap(Option.toArray)) {
    if (!existsSync(dirname(file)))
      throw new Prepare.Refused(`There is no folder ${dirname(file)} for ${basename(file)}.`)
  }
  for (const file of Option.toArray(picture)) {
    if (pictures[endingOf(file)] === undefined)
      throw new Prepare.Refused(`--picture ${file}: a picture ends in .html or .svg.`)
  }
}

const endingOf = (file: string): string => file.slice(file.lastIndexOf(".") + 1)

interface Shown {
  readonly document: Json.Document
  /** Said under the table. */
  readonly notes: ReadonlyArray<string>
}

/** Runs it all. Throws what is wrong. */
const run = async (given: Given, file: string, signal: AbortSignal, progress: Progress.Progress): Promise<Shown> => {
  const url = Option.getOrNull(given.url)
  const routers = Prepare.routers(given)
  const chosen = Choice.of(given.policy)
  const strategies = url === null ? chosen.map((each) => Replicas.insteadOf(each, routers)) : [Online.strategy]
  if (Option.isSome(given.decisions) && !strategies.some(({ kind }) => kind === "ours")) {
    throw new Prepare.Refused("--decisions writes what warmpath decides: add --policy warmpath.")
  }
  const trace = Plan.read(Prepare.source(given, file))
  const setting = Prepare.setting(given, file, trace)
  const wanted = Prepare.wanted(given, trace)
  if (wanted.kind === "share") progress.begin("the load to send: what the fleet could serve at most")
  const load =
    wanted.kind === "share"
      ? { kind: "copies" as const, copies: await Offline.copiesAt(setting, wanted.share, signal) }
      : wanted
  const plan = { ...setting, load }
  const seeds = Array.from({ length: given.seeds }, (_, i) => i + 1)
  const runs = strategies.length * seeds.length
  progress.begin(runs === 1 ? "one run" : `${runs} runs`)
  const common = { plan, seeds, onProgress: progress.at }
  const { notes, results } =
    url === null
      ? {
          notes: [],
          results: await Offline.run({
            ...{ ...common, routers, signal },
            decisions: Option.getOrNull(given.decisions),
            strategies: chosen.map(({ name }) => name)
          })
        }
      : await Online.run({
          ...{ ...common, trace, url },
          admin: Option.getOrNull(given.admin),
          model: Option.getOrNull(given.model),
          speed: Option.getOrElse(given.speed, () => 1)
        })
  if (results.every(({ failed, requests }) => requests + failed === 0)) {
    throw new Prepare.Refused("There is no request after the first fifth of the time, which is left out: replay more.")
  }
  const document: Json.Document = {
    kind: "warmpath replay",
    version: Json.version,
    trace: basename(file).replace(/\..*$/, ""),
    how: url === null ? "offline" : "live",
    fleet:
      url === null
        ? { workers: plan.workers, profile: plan.profile, blockSize: trace.blockSize, capacityTokens: plan.cacheTokens }
        : { workers: results[0]!.workers, profile: null, blockSize: null, capacityTokens: null },
    load: Prepare.inWords(wanted, plan, trace),
    seeds,
    strategies: strategies.map(({ about, kind, name }) => ({ name, about, kind })),
    results
  }
  return { document, notes }
}

const colors = () => picocolors.createColors(process.stdout.isTTY && picocolors.isColorSupported)

/** Says how decisions written down come out when made again. Throws when one of them comes out otherwise. */
const recompute = async (file: string, request: number | null): Promise<void> => {
  if (request === null) {
    const checked = await Recompute.check(file)
    if (checked.differ > 0) throw new Prepare.Refused(Why.verdict(checked))
    return void process.stdout.write(`${Why.verdict(checked)}\n`)
  }
  const remade = await Recompute.one(file, request)
  process.stdout.write(`${Why.text(remade, colors())}\n`)
  if (remade.differs !== null) throw new Prepare.Refused(Why.difference(remade))
}

/** Judges what routers wrote of their requests. Throws when a placement comes out otherwise than it was made. */
const receipts = async (given: Given): Promise<void> => {
  if (given.files.length === 0) throw new Prepare.Refused("Which receipts? warmpath replay --receipts FILE …")
  const variants = given.weights.length > 0 ? given.weights.map(Variants.parse) : Variants.usual()
  checkFiles(given)
  const read = await Receipts.run(given.files, variants)
  for (const to of Option.toArray(given.json)) writeFileSync(to, Rescored.json(read))
  process.stdout.write(`${Rescored.text(read, colors())}\n`)
  if (read.differ > 0) throw new Prepare.Refused(Rescored.difference(read))
}

const replay = async (given: Given, signal: AbortSignal, progress: Progress.Progress): Promise<void> => {
  if (given.list) return void process.stdout.write(`${Choice.list()}\n`)
  if (given.receipts) return receipts(given)
  if (given.weights.length > 0) throw new Prepare.Refused("--weights is for receipts: add --receipts.")
  const [file = null, ...more] = given.files
  if (more.length > 0) throw new Prepare.Refused(`One trace at a time, not ${given.files.join(", ")} at once.`)
  const decided = Option.getOrNull(given.recompute)
  if (decided !== null) {
    if (file !== null) throw new Prepare.Refused("--recompute needs no trace: each line says all. Leave it out.")
    return recompute(decided, Option.getOrNull(given.request))
  }
  if (Option.isSome(given.request)) throw new Prepare.Refused("--request is a line of a file: add --recompute FILE.")
  if (file === null) throw new Prepare.Refused("Which trace? warmpath replay FILE")
  if (Option.isSome(given.url) && given.offline) throw new Prepare.Refused("Give --offline or --url, not both.")
  if (Option.isSome(given.url) && (given.policy.length > 0 || Option.isSome(given.decisions))) {
    throw new Prepare.Refused("Under --url the router there decides: --policy and --decisions are for --offline.")
  }
  const live = Object.entries({ model: given.model, admin: given.admin, speed: given.speed })
  for (const [name, value] of live) {
    if (Option.isNone(given.url) && Option.isSome<unknown>(value)) {
      throw new Prepare.Refused(`--${name} is for a running router: add --url, or leave it out.`)
    }
  }
  if (Option.isSome(given.url) && Option.isSome(given.profile)) {
    throw new Prepare.Refused("Under --url the engines there are what they are: leave --profile out.")
  }
  checkFiles(given)
  const { document, notes } = await run(given, file, signal, progress)
  progress.close()
  process.stdout.write(`${[Table.text(document, colors()), ...notes].join("\n")}\n`)
  for (const to of Option.toArray(given.json)) writeFileSync(to, Json.write(document))
  for (const to of Option.toArray(given.picture)) writeFileSync(to, pictures[endingOf(to)]!(document))
}

const failure = (error: unknown) =>
  new CliError.UserError({ cause: error, userMessage: error instanceof Error ? error.message : String(error) })

export const command = Command.make("replay", flags, (given) =>
  Effect.suspend(() => {
    const progress = Progress.make(process.stderr, process.env)
    return Effect.tryPromise({ try: (signal) => replay(given, signal, progress), catch: failure }).pipe(
      Effect.ensuring(Effect.sync(progress.close))
    )
  })
).pipe(
  Command.withDescription(
    "A recorded trace, replayed: under this router, rivals and bounds, over simulated engines in virtual time, or against " +
      "a running router. A table; JSON and a picture on request."
  )
)

import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { Command as Cli, CliError } from "effect/cli"
import * as Command from "../../../loadtest/replay/Command.ts"
import * as TraceFiles from "../../support/TraceFiles.ts"

const folder = mkdtempSync(join(tmpdir(), "warmpath-replay-"))
const at = (name: string) => join(folder, name)
const arrivals = at("arrivals.jsonl")
const sessions = at("sessions.jsonl")

beforeAll(() => {
  const text = TraceFiles.arrivals()
  const [first] = text.split("\n")
  writeFileSync(arrivals, text)
  writeFileSync(sessions, TraceFiles.sessions())
  writeFileSync(at("bad.jsonl"), `${first}\n${first}\n{"timestamp": 3, "input_length": "many"}\n`)
})
afterAll(() => rmSync(folder, { recursive: true }))

const run = (args: ReadonlyArray<string>) =>
  Cli.runWith(Command.command, { version: "0", renderErrors: false })(args).pipe(
    Effect.provide(NodeServices.layer),
    Effect.exit
  )

const errorOf = (exit: Exit.Exit<void, unknown>): unknown => {
  assert(Exit.isFailure(exit))
  return Cause.squash(exit.cause)
}

/** What is typed, and what is said to it. */
const refused: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp]> = [
  [[], /Which trace\?/],
  [[at("missing.jsonl")], /missing\.jsonl: there is no such file/],
  [[at("bad.jsonl")], /bad\.jsonl, line 3: /],
  [[arrivals, "--policy", "warmpaths"], /no policy "warmpaths".*pooled-cache/],
  [[arrivals, "--sessions", "3"], /--load or --copies/],
  [[sessions, "--load", "0.5"], /--sessions/],
  [[arrivals, "--load", "0.5", "--copies", "2"], /not both/],
  [[sessions, "--until", "0.0001", "--policy", "warmpath"], /no request after the first fifth/],
  [[arrivals, "--cache", "huge"], /tight, medium, ample/],
  [[arrivals, "--cache", "8192"], /needs room for \d+ tokens.* has 8192/],
  [[arrivals, "--picture", at("picture.png")], /\.html or \.svg/],
  [[arrivals, "--json", at("nowhere/all.json")], /no folder/],
  [[arrivals, "--url", "http://127.0.0.1:1", "--policy", "warmpath"], /--policy and --decisions are for/],
  [[arrivals, "--recompute", at("log")], /needs no trace/],
  [[arrivals, "--request", "3"], /add --recompute FILE/],
  [["--recompute", at("missing.jsonl")], /missing\.jsonl: there is no such file/],
  [["--recompute", arrivals], /arrivals\.jsonl, line 1: .*replay the trace once more/],
  [[arrivals, "--decisions", at("log"), "--policy", "round-robin"], /add --policy warmpath/],
  [[arrivals, "--url", "http://127.0.0.1:1", "--offline"], /not both/],
  [[arrivals, "--speed", "2"], /--speed is for a running router: add --url/],
  [[arrivals, "--url", "http://127.0.0.1:1", "--profile", "mla"], /leave --profile out/],
  [[arrivals, "--exchange-ms", "50"], /add --routers/],
  [[arrivals, "--routers", "2", "--exchange-ms", "late"], /milliseconds, or "none"/],
  [[arrivals, "--routers", "2", "--url", "http://127.0.0.1:1"], /leave --routers out/],
  [[arrivals, "--url", "http://127.0.0.1:1"], /Nothing answers at http:\/\/127\.0\.0\.1:1\//]
]

describe("warmpath replay", () => {
  for (const [args, says] of refused) {
    it.effect(`refuses "${args.join(" ").replaceAll(`${folder}/`, "")}", and says why`, () =>
      Effect.gen(function* () {
        const error = errorOf(yield* run(args))
        assert(error instanceof CliError.UserError)
        assert.match(error.userMessage ?? "", says)
      })
    )
  }

  for (const args of [
    ["--workers", "0"],
    ["--seeds", "none"],
    ["--load", "-1"],
    ["--profile", "abacus"],
    ["--polcy", "warmpath"]
  ]) {
    it.effect(`refuses ${args.join(" ")} before a trace is read`, () =>
      Effect.gen(function* () {
        const error = errorOf(yield* run([at("missing.jsonl"), ...args]))
        assert(error instanceof CliError.ShowHelp)
        assert.isAtLeast(error.errors.length, 1)
      })
    )
  }

  it.effect("explains itself with --help", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isSuccess(yield* run(["--help"])))
    })
  )
})

import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { Command as Cli, CliError } from "effect/cli"
import picocolors from "picocolors"
import { expect, vi } from "vitest"
import type { Receipt, ReceiptCandidate, ReceiptTry } from "../src/domain/Receipt.ts"
import * as ExplainCommand from "../src/ExplainCommand.ts"
import * as ExplainText from "../src/ExplainText.ts"

const command = ExplainCommand.make((error) => new CliError.UserError({ cause: error, userMessage: error.message }))
const run = (args: ReadonlyArray<string>) =>
  Cli.runWith(command, { version: "0", renderErrors: false })(args).pipe(
    Effect.provide(NodeServices.layer),
    Effect.exit
  )

/** What is typed, and what is said to it. */
const refused: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp]> = [
  [[], /What is to be explained\? Give a request's id, or --last N/],
  [["r1", "--last", "3"], /One at a time/],
  [["--prompt", "x", "--body", "f"], /One at a time/],
  [["--prompt", "x"], /For which model\? Add --model/],
  [["--model", "m"], /Add --prompt TEXT or --messages FILE/],
  [["--model", "m", "--prompt", "x", "--messages", "f"], /--prompt or --messages, not both/],
  [["--body", "/nowhere/body.json"], /--body \/nowhere\/body\.json: there is no such file/],
  [["--model", "m", "--messages", "package-lock.json/x"], /--messages .*Give a file of JSON/],
  [["r1", "--admin", "http://"], /--admin http:\/\/ is no address/],
  [["r1", "--admin", "127.0.0.1:9"], /No router answers at http:\/\/127\.0\.0\.1:9 .*--admin http:\/\/host:8081/]
]

const chosen: ReceiptCandidate = {
  ...{ slot: 1, worker: "a:1", cachedTokens: 4_096, waitMs: 0, ownMs: 12.34, othersMs: 6.5, decodeMs: 0, recentMs: 0 },
  ...{ costMs: 18.84, trust: "exact", credit: 0.75, heardAgoMs: 12_000, queued: 2, active: 31, lost: null },
  heldTokens: { device: 2_048, host: 4_096, disk: 4_096, external: 4_096, guess: 4_100 }
}
const placed = (given: Partial<ReceiptTry>): ReceiptTry => ({
  ...{
    atMs: 0.5,
    worker: "a:1",
    slot: 1,
    policy: "eta",
    price: 0.5,
    arrivalsPerMs: 0.002,
    others: 0,
    states: "2 ready"
  },
  ...{ predictedTokens: 4_096, bestTokens: 4_096, deliveredTokens: 4_000, firstByteMs: 20, endMs: 90 },
  ...{ end: "answered 200", decision: null },
  candidates: [chosen, { ...chosen, slot: 2, worker: "b:1", costMs: 300, lost: "because it was so" }],
  ...given
})
const receipt = (given: Partial<Receipt>): Receipt => ({
  ...{ version: 1, id: "r1", at: "2026-01-01T00:00:00.000Z", traceId: null, endpoint: "chat", asked: "m", model: "m" },
  ...{ stream: true, prompts: 1, promptTokens: 5_000, exact: true, outcome: "ok", status: 200, missing: null },
  ...{ waitedMs: 0, ttftMs: 20, totalMs: 90.25, outputTokens: 1, regret: { choiceTokens: 0, pictureTokens: 96 } },
  phases: { receive: 0.1, hash: 0.2, match: 0.1, place: 0.1, book: 0.1, forward: 89, settle: null },
  tries: [placed({})],
  ...given
})
const none = picocolors.createColors(false)

describe("warmpath explain", () => {
  for (const [args, says] of refused) {
    it.effect(`refuses "${args.join(" ")}", and says why`, () =>
      Effect.gen(function* () {
        const exit = yield* run(args)
        assert(Exit.isFailure(exit))
        const error = Cause.squash(exit.cause)
        assert(CliError.isCliError(error) && error._tag === "UserError")
        expect((error as CliError.UserError).userMessage).toMatch(says)
      })
    )
  }

  it.effect("says so when what answers is no router, whatever it answers", () =>
    Effect.gen(function* () {
      const server = createServer((_, response) => response.end("<html>hello</html>"))
      yield* Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)))
      const exit = yield* run(["r1", "--admin", `127.0.0.1:${(server.address() as AddressInfo).port}`])
      server.close()
      assert(Exit.isFailure(exit))
      expect(String(Cause.squash(exit.cause))).toMatch(/r1 answered 200, and not as a router does/)
    })
  )

  it("shows terms, tiers, trust and why the others lost, in the words of the receipt", () => {
    const text = ExplainText.receipt(receipt({ asked: "alias", traceId: "abc" }), none)
    expect(text).toMatch(
      /^Request r1, 2026-01-01T00:00:00\.000Z\nm \(asked for as alias\), chat, streamed: 5 000 tokens/
    )
    expect(text).toContain("first token after 20 ms, over after 90 ms, 1 token of output")
    expect(text).toContain("forward 89 · settle –")
    expect(text).toContain("predicted 4 096 tokens, delivered 4 000; the most that any eligible worker held was 4 096")
    expect(text).toMatch(/│ ▶ +│ a:1 +│ +0 │ +12 │ +6\.50 │ +0 │ +0 │ +19 │ chosen/)
    expect(text).toMatch(/│ +│ b:1 .* 300 │ because it was so/)
    expect(text).toMatch(
      /│ a:1 +│ +2 048 │ +4 096 │ +4 096 │ +4 096 │ +4 100 │ +4 096 │ exact │ +75 % │ +12 s │ +2 │ +31 │/
    )
    expect(text).toContain("Trace abc")
  })

  it("shows every try of a request that was retried, and what was left out", () => {
    const many = Array.from({ length: 20 }, (_, i) => ({
      ...chosen,
      slot: i,
      worker: `w${i}`,
      lost: i === 1 ? null : "x"
    }))
    const tries = [
      placed({ end: "failed before its first byte: it closed", deliveredTokens: null, firstByteMs: null }),
      placed({ worker: "w1", candidates: many, others: 5 })
    ]
    const text = ExplainText.receipt(receipt({ tries, missing: "1 open" }), none)
    expect(text).toContain("Try 1 of 2: to a:1: failed before its first byte: it closed")
    expect(text).toContain("delivered not told")
    expect(text).toContain("Try 2 of 2: to w1: answered 200, first byte after 20 ms")
    expect(text).toContain("13 more could have taken it.")
    expect(text).toContain("No other worker could take it: 1 open.")
  })

  it("tells how long a request was held back for its turn, and nothing where it was not", () => {
    expect(ExplainText.receipt(receipt({}), none)).not.toContain("for its turn")
    const phases = { ...receipt({}).phases, place: 312.4 }
    const text = ExplainText.receipt(receipt({ phases, waitedMs: 312.25 }), none)
    expect(text).toContain("place 312 (waited 312 for its turn) · book")
  })

  it("lets nothing that an engine wrote command the terminal", async () => {
    const hostile = receipt({ tries: [placed({ end: "failed before its first byte: \u001b[2J\u0007gone" })] })
    const server = createServer((_, response) => response.end(JSON.stringify(hostile))).listen(0, "127.0.0.1")
    await new Promise((resolve) => server.once("listening", resolve))
    const said: Array<string> = []
    const log = vi.spyOn(console, "log").mockImplementation((text: string) => void said.push(text))
    try {
      const { port } = server.address() as AddressInfo
      await Effect.runPromise(run(["r1", "--admin", `127.0.0.1:${port}`]))
    } finally {
      log.mockRestore()
      server.close()
    }
    expect(said.join()).toContain("failed before its first byte: �[2J�gone")
  })

  it("shows a request that nobody could take", () => {
    const text = ExplainText.receipt(
      receipt({
        tries: [],
        regret: null,
        missing: "3 open",
        outcome: "missing",
        status: 503,
        ttftMs: null,
        outputTokens: null
      }),
      none
    )
    expect(text).toContain("missing, status 503: over after 90 ms, output not told")
    expect(text).toContain("No worker could take it: 3 open.")
  })
})

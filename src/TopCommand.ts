/** `warmpath top`: the fleet of a router that runs, live in a terminal. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import picocolors from "picocolors"
import * as AdminClient from "./AdminClient.ts"
import * as Feed from "./top/Feed.ts"
import * as Frame from "./top/Frame.ts"
import * as Keys from "./top/Keys.ts"
import * as Screen from "./top/Screen.ts"
import * as Seen from "./top/Seen.ts"

const flags = {
  admin: AdminClient.flag,
  once: Flag.Boolean("once").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Prints it once and ends; so it does where standard output is no terminal")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("As --once, as JSON: {atMs, totals, workers}")
  )
}

const isSet = (name: string): boolean => (process.env[name] ?? "") !== ""

/** The first thing it tells is all of it. */
const first = (admin: string) =>
  Effect.tryPromise({
    try: async (signal) => {
      for await (const told of Feed.once(admin, signal)) return Seen.apply(null, told)
      throw new Error("it ended the connection")
    },
    catch: (error) => AdminClient.unreachable(admin, (error as Error).message)
  })

/** Until a key or the signal ends it. */
const live = async (admin: string, signal: AbortSignal): Promise<void> => {
  const colors = picocolors.createColors(!isSet("NO_COLOR"))
  const over = new AbortController()
  let view: Frame.View = { order: "load", above: 0, isPaused: false, lost: null }
  let told: Seen.Seen | null = null
  /** What is on the screen: of a paused view, what was told when it was paused. */
  let seen: Seen.Seen | null = null
  let lostMs = 0
  let page = 1
  let screen: Screen.Screen | null = null
  const draw = (): void => {
    if (!view.isPaused) seen = told
    if (screen === null || seen === null) return
    const frame = Frame.make(seen, admin, view, screen.size(), colors)
    page = frame.page
    view = { ...view, above: frame.above }
    screen.draw(frame.lines)
  }
  const key = (pressed: Keys.Key): void => {
    const next = Keys.press(view, pressed, page)
    if (next === null) return over.abort()
    view = next
    draw()
  }
  const onTold: Feed.Listener["told"] = (fleet) => {
    told = Seen.apply(told, fleet)
    view = { ...view, lost: null }
    // Not before there is something to show: what is wrong with the address is said on the page one came from.
    screen ??= Screen.open(process.stdin, process.stdout, { key, resized: draw })
    draw()
  }
  const onLost = (why: string): void => {
    if (view.lost === null) lostMs = Date.now()
    view = { ...view, lost: { why, ms: Date.now() - lostMs } }
    draw()
  }
  try {
    await Feed.follow(admin, { told: onTold, lost: onLost }, AbortSignal.any([signal, over.signal]))
  } finally {
    ;(screen as Screen.Screen | null)?.close()
  }
}

const run = Effect.fnUntraced(function* (given: Command.Command.Config.Infer<typeof flags>) {
  const admin = yield* AdminClient.addressOf(given.admin)
  const { stdout } = process
  const isWatched = stdout.isTTY && process.env["TERM"] !== "dumb"
  if (isWatched && !given.once && !given.json) {
    return yield* Effect.tryPromise({
      try: (signal) => live(admin, signal),
      catch: (error) => AdminClient.unreachable(admin, (error as Error).message)
    })
  }
  const seen = yield* first(admin)
  const colors = picocolors.createColors(isWatched && !isSet("NO_COLOR"))
  yield* Console.log(
    given.json
      ? JSON.stringify({ ...seen, workers: Seen.sorted(seen, "load") }, null, 2)
      : Frame.whole(seen, admin, "load", stdout.columns || pipedWidth, colors)
  )
})

/** Lines of what is read by a program or kept in a file: room for all but the longest reasons. */
const pipedWidth = 160

export const make = (usage: (error: { readonly message: string }) => Error) =>
  Command.make("top", flags, (given) => run(given).pipe(Effect.mapError(usage))).pipe(
    Command.withDescription(
      "The workers of a router that runs, live: load, caches, hit rates, how far each is believed"
    )
  )

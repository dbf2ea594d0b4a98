/**
 * RdmaStore: the StateStore in the memory of one or two memory nodes, over libfabric.
 *
 * What two nodes are to each other: `Life`. What is on the wire: `Wire`; where what lies in a node's memory: `NodeLayout`.
 */
import { Effect, Redacted, type Redacted as RedactedType, type Scope } from "effect"
import * as PieceWalk from "../../hot/PieceWalk.ts"
import {
  type Interface,
  type Reach,
  type Share,
  StateStore,
  type StoreError,
  StoreUnusable
} from "../../ports/StateStore.ts"
import * as Address from "./Address.ts"
import * as Asking from "./Asking.ts"
import * as Fabric from "./Fabric.ts"
import { Failed, storeError, type Unusable, unusableOf } from "./Failure.ts"
import * as Findings from "./Findings.ts"
import { Life } from "./Life.ts"
import { Link } from "./Link.ts"
import { Lookups } from "./Lookups.ts"
import * as Wire from "./Wire.ts"

export interface Options {
  /** `rdma://host:port[,host2:port2]?provider=auto&mode=auto|rpc|read&library=…` */
  readonly url: string
  /** As in the nodes' token file; null: none. */
  readonly token: RedactedType.Redacted<string> | null
  readonly deadlineMs?: number
  readonly lookupMs?: number
  /** Polls so long after the last message before it sleeps; as the provider needs it. */
  readonly spinUs?: number
  /** The addon, where it is not the built one. */
  readonly fabric?: Fabric.FabricAddon
}

export interface RdmaStats {
  readonly mode: "rpc" | "read"
  readonly nodes: ReadonlyArray<{ readonly name: string; readonly isUp: boolean; readonly generation: string | null }>
  readonly lookups: { readonly rpc: number; readonly read: number; readonly fellBack: number; readonly torn: number }
}

/** Words of shares in one write. */
const writeWords = Wire.writeBytesMax / 4 - Wire.headWords

/** Shares as messages of bounded length, in their order. */
const packed = (shares: ReadonlyArray<Share>): Array<Int32Array> => {
  const messages: Array<Int32Array> = []
  for (let first = 0; first < shares.length; ) {
    let length = 0
    let end = first
    while (end < shares.length && length + Wire.lengthOf(shares[end]!) <= writeWords)
      length += Wire.lengthOf(shares[end++]!)
    const words = new Int32Array(length)
    for (let at = 0; first < end; first++) at = Wire.putShare(words, at, shares[first]!)
    messages.push(words)
  }
  return messages
}

const load = (options: Options): Fabric.FabricAddon | Unusable => {
  try {
    return options.fabric ?? Fabric.load()
  } catch (error) {
    const unusable = unusableOf(error)
    if (unusable === null) throw error
    return unusable
  }
}

export const open = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Interface & { readonly stats: () => RdmaStats }, StoreUnusable, Scope.Scope> {
  const { deadlineMs = 1_000, lookupMs = 20, spinUs = null, token, url } = options
  const unusable = ({ code, fix, why }: Unusable) => new StoreUnusable({ store: url, code, why, fix })
  const address = Address.parse(url)
  if (typeof address === "string")
    return yield* unusable({ code: "ERR_RDMA_URL", why: address, fix: "See the knob store." })
  const fabric = load(options)
  if ("why" in fabric) return yield* unusable(fabric)

  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const changed = (link: Link): void => {
    if (link.isUp) {
      const { provider, release } = link.session!.welcome
      fork(Effect.logInfo(`Store: connected to memory node ${link.name} (warmpath ${release}, ${provider})`))
      lookups.connected(link)
    } else if (link.why !== "closed") fork(Effect.logWarning(`Memory node ${link.name} is away: ${link.why}`))
  }
  const { library, mode, nodes, provider } = address
  const links = nodes.map(
    ({ host, port }) =>
      new Link({
        ...{ fabric, host, port, provider, library, spinUs, changed },
        token: token === null ? "" : Redacted.value(token)
      })
  )
  const lookups = new Lookups(links, mode)
  const life = new Life(links)
  yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all(links.map((link) => link.close()))))
  yield* Effect.promise(() => Promise.all(links.map((link) => link.open())))
  for (const link of links) if (link.unusable !== null) return yield* unusable(link.unusable)

  const run = <A>(what: string, work: () => Promise<A>): Effect.Effect<A, StoreError> =>
    Effect.tryPromise({ try: async () => work(), catch: (error) => storeError(what, error) })

  /** The same number of all members: of those they would give, the greatest. */
  const enter = async (name: string): Promise<number> => {
    const given = new Map<Link, number>()
    for (let most = 0; ; most = Math.max(...given.values())) {
      const numbers = await life.everywhere(async (link) => {
        // It gives the next number each time it is asked.
        if (given.get(link) === most) return most
        const { tenure } = await link.ask({ ask: "enter", name, atLeast: most }, Asking.Entered, deadlineMs)
        if (tenure === null) throw new Failed("refused", `memory node ${link.name} has no room for the name`)
        given.set(link, tenure)
        return tenure
      })
      if (numbers.every((number) => number === numbers[0])) return numbers[0]!
    }
  }

  const leave = async (name: string, tenure: number): Promise<void> => {
    await life.everywhere((link) => link.ask({ ask: "leave", name, tenure }, Asking.Left, deadlineMs))
    life.hasLeft(name, tenure)
  }

  const read: Interface["read"] = (take) =>
    Effect.gen(function* () {
      const what = "read it all"
      const link = yield* run(what, async () => life.reader())
      const { byTenure } = yield* run(what, () => lookups.tables(link).fresh(deadlineMs))
      for (let from = 0; from >= 0; ) {
        const at = from
        const part = yield* run(what, () => link.bulk(at, deadlineMs))
        const stretches = part.nodes.flatMap((node) => PieceWalk.stretch(node, (tenure) => byTenure.get(tenure)) ?? [])
        if (stretches.length > 0 && !(yield* take(stretches))) return
        from = part.next
      }
    })

  const lookup: Interface["lookup"] = (keys, count, stride) =>
    Effect.callback<ReadonlyArray<Reach>, StoreError>((resume) => {
      const what = `look up ${count} blocks`
      try {
        const stop = lookups.lookup(
          life.reader(),
          keys,
          Math.min(count, keys.length / 2),
          stride,
          lookupMs,
          (reach, why) => resume(reach === null ? Effect.fail(storeError(what, why)) : Effect.succeed(reach))
        )
        return Effect.sync(stop)
      } catch (error) {
        return void resume(Effect.fail(storeError(what, error)))
      }
    })

  const store = StateStore.of({
    url,
    status: () => {
      const up = links.filter(({ isUp }) => isUp)
      return {
        connected: up.length > 0,
        why: up.length === links.length ? "" : life.why(),
        server:
          lookups.lastWelcome === null
            ? null
            : `memory node ${lookups.lastWelcome.release} on ${lookups.lastWelcome.provider}`
      }
    },
    generation: run("read its generation", async () => {
      const generation = life.ask()
      await life.tellLeft((link, name, tenure) => link.ask({ ask: "leave", name, tenure }, Asking.Left, deadlineMs))
      return generation
    }),
    enter: (name) => run(`enter ${name}`, () => enter(name)),
    settle: (name, tenure) =>
      run(`settle ${name}`, async () => {
        const told = await life.everywhere((link) =>
          link.ask({ ask: "settle", name, tenure }, Asking.Settled, deadlineMs)
        )
        return told.every(({ settled }) => settled)
      }),
    leave: (name, tenure) => run(`leave ${name}`, () => leave(name, tenure)),
    write: (shares) =>
      run(`write ${shares.length} shares`, async () => {
        const messages = packed(shares)
        await life.everywhere((link) => Promise.all(messages.map((message) => link.write(message, deadlineMs))))
      }),
    lookup,
    read,
    names: run("read names", async () => {
      const { tenures } = await lookups.tables(life.reader()).fresh(deadlineMs)
      return Array.from(tenures, ([name, count]) => ({ name, tenures: count }))
    }),
    findings: run("say how it is", () => Findings.all(fabric, address, links, lookups, lookupMs))
  })
  return {
    ...store,
    stats: () => ({
      mode: links.some((link) => lookups.mode(link) === "read") ? "read" : "rpc",
      nodes: links.map(({ isUp, name, session }) => ({ name, isUp, generation: session?.welcome.generation ?? null })),
      lookups: lookups.counters()
    })
  }
})

/** `warmpath memory-node`: block metadata in this machine's memory, for routers on its fabric, until Ctrl-C or SIGTERM. */
import { readFile } from "node:fs/promises"
import { Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import packageJson from "warmpath/package.json" with { type: "json" }
import { headerBytes } from "../../hot/NodeLayout.ts"
import { defaultPort } from "./Address.ts"
import * as Fabric from "./Fabric.ts"
import { unusableOf } from "./Failure.ts"
import * as MemoryNode from "./MemoryNode.ts"
import * as NodeAdmin from "./NodeAdmin.ts"

class Refused extends Schema.TaggedError<Refused>()("MemoryNodeRefused", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

const flags = {
  listen: Flag.String("listen").pipe(
    Flag.withDefault(`127.0.0.1:${defaultPort}`),
    Flag.withDescription(`host:port at which routers begin, over TCP; an address of the fabric's own network`)
  ),
  provider: Flag.String("provider").pipe(
    Flag.withDefault("auto"),
    Flag.withDescription("Of libfabric: auto, tcp, shm, verbs, efa, cxi. Routers must have the same")
  ),
  library: Flag.String("library").pipe(
    Flag.optional,
    Flag.withDescription("libfabric.so.1, or a folder that has it; as the system finds it")
  ),
  size: Flag.String("size").pipe(
    Flag.withDefault("256MiB"),
    Flag.withDescription("Memory used at first, and added at a time: 256MiB holds some 20 million blocks of 16 tokens")
  ),
  maxSize: Flag.String("max-size").pipe(
    Flag.optional,
    Flag.withDescription(
      "Memory used at most; that of --size. All of it is registered with the fabric at once, and pinned where hardware reads it"
    )
  ),
  backing: Flag.String("backing").pipe(
    Flag.optional,
    Flag.withDescription(
      "A file, on tmpfs or hugetlbfs, that the memory is of: a node that is started again goes on with what it had. None: it begins empty"
    )
  ),
  tokenFile: Flag.String("token-file").pipe(
    Flag.optional,
    Flag.withDescription("A file with the token that routers must give; none: anybody may, as on a closed network")
  ),
  admin: Flag.Int("admin").pipe(
    Flag.withDefault(0),
    Flag.withDescription("Port of /healthz and /metrics, on the host of --listen; 0: any that is free, which is said")
  ),
  ttl: Flag.Int("ttl").pipe(
    Flag.withDefault(7_200),
    Flag.withDescription("Seconds after which goes what no router has written again; those of the routers' storeTtlMs")
  ),
  spin: Flag.Int("spin").pipe(
    Flag.optional,
    Flag.withDescription(
      "Microseconds to poll after the last message before sleeping; 0 over TCP, else 200. Costs as much of a core"
    )
  )
}

const units: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, "": 1 }
const sizeMin = headerBytes + 2 * 2 ** 20
const sizeMax = 16 * 2 ** 30

const bytesOf = (flag: string, text: string) => {
  const match = /^(\d+)(KiB|MiB|GiB|)$/.exec(text)
  const bytes = match === null ? 0 : Number(match[1]) * units[match[2]!]!
  return bytes >= sizeMin && bytes <= sizeMax
    ? Effect.succeed(bytes)
    : Effect.fail(new Refused({ detail: `${flag} ${text}: must be 8MiB to 16GiB, like 256MiB` }))
}

const wholeOf = (flag: string, value: number, from: number, to: number) =>
  value >= from && value <= to
    ? Effect.void
    : Effect.fail(new Refused({ detail: `${flag} ${value}: must be ${from} to ${to}` }))

const listenOf = (text: string) => {
  const url = URL.canParse(`tcp://${text}`) ? new URL(`tcp://${text}`) : null
  return url === null || url.hostname === "" || url.port === ""
    ? Effect.fail(new Refused({ detail: `--listen ${text}: must be host:port, like 10.0.0.7:${defaultPort}` }))
    : Effect.succeed({ host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) })
}

const wordsOf = (error: unknown): string => {
  const unusable = unusableOf(error)
  if (unusable !== null) return `${unusable.why}. ${unusable.fix}`
  return error instanceof Error ? error.message : String(error)
}

const refused = (error: unknown) => new Refused({ detail: wordsOf(error) })

const run = Effect.fnUntraced(function* (given: Command.Command.Config.Infer<typeof flags>) {
  const { host, port } = yield* listenOf(given.listen)
  const bytes = yield* bytesOf("--size", given.size)
  const bytesMax = Option.isSome(given.maxSize) ? yield* bytesOf("--max-size", given.maxSize.value) : bytes
  if (bytesMax < bytes)
    return yield* new Refused({
      detail: `--max-size ${Option.getOrElse(given.maxSize, () => "")}: must be no less than --size ${given.size}`
    })
  yield* wholeOf("--ttl", given.ttl, 1, 2 ** 31 - 1)
  yield* wholeOf("--admin", given.admin, 0, 65_535)
  if (Option.isSome(given.spin)) yield* wholeOf("--spin", given.spin.value, 0, 1_000_000)
  const tokenFile = Option.getOrNull(given.tokenFile)
  const token =
    tokenFile === null
      ? ""
      : (yield* Effect.tryPromise({
          try: () => readFile(tokenFile, "utf8"),
          catch: (error) => new Refused({ detail: `--token-file ${tokenFile}: ${wordsOf(error)}` })
        })).trim()
  if (tokenFile !== null && token === "") return yield* new Refused({ detail: `--token-file ${tokenFile} is empty` })
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const node = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: async () =>
        MemoryNode.start(Fabric.load(), {
          ...{ host, port, provider: given.provider, library: Option.getOrNull(given.library), bytes, bytesMax, token },
          ...{ backing: Option.getOrNull(given.backing), ttlS: given.ttl, spinUs: Option.getOrNull(given.spin) },
          release: packageJson.version,
          log: (line) => void fork(Effect.logInfo(`Memory node: ${line}`))
        }),
      catch: refused
    }),
    (started) => Effect.promise(() => started.close())
  )
  const admin = yield* Effect.acquireRelease(
    Effect.tryPromise({ try: () => NodeAdmin.start(node, host, given.admin), catch: refused }),
    (started) => Effect.promise(() => started.close())
  )
  yield* Effect.logInfo(
    `Memory node at ${host}:${node.port} on ${node.provider} (libfabric ${node.version}), ${given.size} of memory, ` +
      `${token === "" ? "no token" : "with a token"} · admin at http://${host}:${admin.port}/metrics`
  )
  return yield* Effect.never
})

export const make = (usage: (error: { readonly message: string }) => Error) =>
  Command.make("memory-node", flags, (given) => Effect.scoped(run(given)).pipe(Effect.mapError(usage))).pipe(
    Command.withDescription(
      "Keeps block metadata in this machine's memory for routers on the same fabric (store: rdma://host:port), over libfabric"
    )
  )

/**
 * Lookups: requests looked up at a memory node, by asking it or by reading its memory, whichever was faster when it connected.
 *
 * Reading is chosen where a probe of 200 lookups each way finds it faster by a tenth, and never where the fabric says that the
 * node's processor does the reading; `mode=read` is a person's word and needs no probe. A read that does not come to an end is asked.
 */
import type { KeyLanes } from "../../domain/Block.ts"
import * as PieceNode from "../../hot/PieceNode.ts"
import type { Reach } from "../../ports/StateStore.ts"
import type { Mode } from "./Address.ts"
import { Failed } from "./Failure.ts"
import type { Welcome } from "./Hello.ts"
import type { Link, Session } from "./Link.ts"
import { NodeTables } from "./NodeTables.ts"
import { Reads } from "./Reads.ts"
import type { ReachReply } from "./Wire.ts"

const probes = 200
const probeMs = 100

interface Probed {
  readonly rpcUs: number
  readonly readUs: number
}

type Done = (reach: ReadonlyArray<Reach> | null, why: Failed | null) => void

interface Side {
  readonly tables: NodeTables
  readonly reads: Reads
  session: Session | null
  reading: boolean
  probed: Probed | null
}

export class Lookups {
  lastWelcome: Welcome | null = null
  private readonly sides: Map<Link, Side>
  private readonly wanted: Mode
  private rpc = 0
  private read = 0
  private fellBack = 0

  constructor(links: ReadonlyArray<Link>, wanted: Mode) {
    this.wanted = wanted
    this.sides = new Map(
      links.map((link) => {
        const tables = new NodeTables(link)
        return [link, { tables, reads: new Reads(link, tables), session: null, reading: false, probed: null }]
      })
    )
  }

  tables(link: Link): NodeTables {
    return this.sides.get(link)!.tables
  }

  mode(link: Link): "rpc" | "read" {
    return this.sides.get(link)!.reading ? "read" : "rpc"
  }

  probed(link: Link): Probed | null {
    return this.sides.get(link)!.probed
  }

  counters() {
    let torn = 0
    for (const { reads } of this.sides.values()) torn += reads.counters.torn
    return { rpc: this.rpc, read: this.read, fellBack: this.fellBack, torn }
  }

  /** A new session: decides how it is looked up. */
  connected(link: Link): void {
    const side = this.sides.get(link)!
    const { endpoint, welcome } = link.session!
    this.lastWelcome = welcome
    side.session = link.session
    side.reading = this.wanted === "read"
    if (this.wanted !== "auto" || endpoint.manualProgress || welcome.manualProgress) return
    void this.probe(link)
      .then((probed) => {
        if (probed !== null && side.session === link.session) side.reading = probed.readUs < 0.9 * probed.rpcUs
      })
      // Whatever was wrong, asking works, or the link says why not.
      .catch(() => {})
  }

  /** Who reaches how far. Cancel with what it returns. */
  lookup(link: Link, keys: KeyLanes, count: number, stride: number, ms: number, done: Done): () => void {
    const side = this.sides.get(link)!
    if (!side.reading) return this.ask(link, side, keys, count, stride, ms, done)
    this.read++
    const began = performance.now()
    let isOver = false
    let stop = (): void => {
      isOver = true
    }
    side.reads.lookup(keys, count, stride, ms).then(
      (reach) => {
        if (!isOver) done(reach, null)
        link.missed(null)
      },
      (error: unknown) => {
        if (isOver) return
        this.fellBack++
        const left = ms - (performance.now() - began)
        const failed = error instanceof Failed ? error : new Failed("away", String(error))
        if (left < 1) {
          link.missed(failed)
          return done(null, failed)
        }
        stop = this.ask(link, side, keys, count, stride, left, done)
      }
    )
    return () => stop()
  }

  /** Median of lookups of what the node has, each way; null when there is nothing in it. */
  async probe(link: Link): Promise<Probed | null> {
    const side = this.sides.get(link)!
    const { nodes } = await link.bulk(0, 10 * probeMs)
    const some = nodes.flatMap((bytes) => PieceNode.of(bytes) ?? []).filter((node) => PieceNode.base(node) === 0)
    if (some.length === 0) return null
    const medianOf = async (one: (keys: KeyLanes, stride: number) => Promise<unknown>): Promise<number> => {
      const us: Array<number> = []
      let late = 0
      for (let i = 0; i < probes; i++) {
        const node = some[i % some.length]!
        const began = performance.now()
        const isLate = await one(PieceNode.keys(node), PieceNode.stride(node)).then(
          () => false,
          (error: unknown) => {
            // A busy machine is late now and then, which is not what a median asks for.
            if (!(error instanceof Failed && error.reason === "late") || ++late > probes / 2) throw error
            return true
          }
        )
        us.push(isLate ? Infinity : 1_000 * (performance.now() - began))
      }
      return us.sort((a, b) => a - b)[probes / 2]!
    }
    const rpcUs = await medianOf(
      (keys, stride) =>
        new Promise((resolve, reject) =>
          this.ask(link, side, keys, keys.length / 2, stride, probeMs, (reach, why) =>
            reach === null ? reject(why) : resolve(reach)
          )
        )
    )
    const readUs = await medianOf((keys, stride) => side.reads.lookup(keys, keys.length / 2, stride, probeMs))
    side.probed = { rpcUs, readUs }
    return side.probed
  }

  private ask(
    link: Link,
    side: Side,
    keys: KeyLanes,
    count: number,
    stride: number,
    ms: number,
    done: Done
  ): () => void {
    this.rpc++
    const { session } = link
    return link.lookup(keys, count, stride, ms, (reply, why) => {
      if (reply === null) return done(null, why)
      const known = side.tables.ofSlots(reply.version)
      if (known !== null || reply.count === 0) return done(named(reply, known?.bySlot ?? new Map()), null)
      // The reply is in a buffer that will not wait.
      const kept = keep(reply)
      side.tables.fresh(ms).then(
        ({ bySlot, session: ofSession, slotVersion }) => {
          // A slot may be another name's by now, which holds none of it.
          const isOf = slotVersion === kept.version && ofSession === session
          if (isOf) done(named(kept, bySlot), null)
          else done(null, new Failed("late", "the table of names changed meanwhile"))
        },
        (error: unknown) => done(null, error instanceof Failed ? error : new Failed("away", String(error)))
      )
    })
  }
}

const keep = ({ count, depths, slot, version }: ReachReply): ReachReply => {
  const all = Array.from({ length: count }, (_, i) => ({ slot: slot(i), depths: depths(i) }))
  return { version, count, slot: (i) => all[i]!.slot, depths: (i) => all[i]!.depths }
}

const named = ({ count, depths, slot }: ReachReply, bySlot: ReadonlyMap<number, string>): Array<Reach> => {
  const reach: Array<Reach> = []
  for (let i = 0; i < count; i++) {
    const name = bySlot.get(slot(i))
    if (name !== undefined) reach.push({ name, blocks: depths(i) })
  }
  return reach
}

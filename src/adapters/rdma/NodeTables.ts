/** NodeTables: what a router remembers of the names of a memory node: by slot, and by tenure; fetched anew when they are others. */
import * as Asking from "./Asking.ts"
import { Failed } from "./Failure.ts"
import type { Link, Session } from "./Link.ts"

/** Times that names are read anew because they changed between two parts. */
const triesMax = 8

export interface Known {
  readonly session: Session
  readonly slotVersion: number
  readonly version: number
  readonly bySlot: ReadonlyMap<number, string>
  readonly byTenure: ReadonlyMap<number, string>
  readonly tenures: ReadonlyMap<string, number>
}

export class NodeTables {
  known: Known | null = null
  private fetching: Promise<Known> | null = null
  private readonly link: Link

  constructor(link: Link) {
    this.link = link
  }

  /** Those known, when they are of this session and of this version of slots. */
  ofSlots(slotVersion: number): Known | null {
    const { known } = this
    return known !== null && known.session === this.link.session && known.slotVersion === slotVersion ? known : null
  }

  ofTenures(version: number): Known | null {
    const { known } = this
    return known !== null && known.session === this.link.session && known.version === version ? known : null
  }

  /** As they are now: not those of a fetch that began earlier. */
  async fresh(ms: number): Promise<Known> {
    await this.fetching?.catch(() => {})
    this.fetching ??= this.fetch(ms).finally(() => {
      this.fetching = null
    })
    return this.fetching
  }

  private async fetch(ms: number): Promise<Known> {
    const { session } = this.link
    if (session === null) throw new Failed("away", this.link.why)
    for (let tries = 0; tries < triesMax; tries++) {
      const bySlot = new Map<number, string>()
      const byTenure = new Map<number, string>()
      const tenures = new Map<string, number>()
      let from = 0
      for (let first: number | null = null; ; ) {
        const part: typeof Asking.Names.Type = await this.link.ask({ ask: "names", from }, Asking.Names, ms)
        // Two lives of a node may count alike.
        if (this.link.session !== session) throw new Failed("away", `${this.link.name} was connected anew meanwhile`)
        first ??= part.version
        // Changed between two parts: begin again.
        if (part.version !== first) break
        for (const { name, slot, tenures: own } of part.names) {
          bySlot.set(slot, name)
          tenures.set(name, own.length)
          for (const tenure of own) byTenure.set(tenure, name)
        }
        if (part.next !== null && part.next <= from) {
          throw new Failed("refused", `${this.link.name} tells names again from ${part.next}, after ${from}`)
        }
        if (part.next !== null) {
          from = part.next
          continue
        }
        const { slotVersion, version } = part
        this.known = { session, slotVersion, version, bySlot, byTenure, tenures }
        return this.known
      }
    }
    throw new Failed("late", `the names of ${this.link.name} changed each of ${triesMax} times they were read`)
  }
}

/** NodeTables: what a router remembers of the names of a memory node: by slot, and by tenure; fetched anew when they are others. */
import * as Asking from "./Asking.ts"
import type { Link, Session } from "./Link.ts"

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
    for (;;) {
      const { session } = this.link
      const bySlot = new Map<number, string>()
      const byTenure = new Map<number, string>()
      const tenures = new Map<string, number>()
      let from = 0
      for (let first: number | null = null; ; ) {
        const part: typeof Asking.Names.Type = await this.link.ask({ ask: "names", from }, Asking.Names, ms)
        first ??= part.version
        // Changed between two parts: begin again.
        if (part.version !== first) break
        for (const { name, slot, tenures: own } of part.names) {
          bySlot.set(slot, name)
          tenures.set(name, own.length)
          for (const tenure of own) byTenure.set(tenure, name)
        }
        if (part.next !== null) {
          from = part.next
          continue
        }
        const { slotVersion, version } = part
        this.known = { session: session!, slotVersion, version, bySlot, byTenure, tenures }
        return this.known
      }
    }
  }
}

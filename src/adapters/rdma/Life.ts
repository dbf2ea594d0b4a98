/**
 * Life: one life of a store out of those of one or two memory nodes.
 *
 * The store's life is that of its *members*: the nodes that were there when its user last asked for the generation, and have
 * done all that was asked since. A node that missed something is a member no more: what it has may be old. When it is there again,
 * or a member has begun anew, the life is over: what is asked of it is refused until the user asks for the generation, enters
 * anew and writes everything. That makes both nodes whole.
 */
import { createHash } from "node:crypto"
import { Failed } from "./Failure.ts"
import type { Link } from "./Link.ts"

/** A node that comes back is let in after this, and no sooner than so long after the last time: each costs writing all anew. */
const settledMs = 1_000
const pauseMs = 30_000
const leftMax = 4_096

interface Known {
  readonly generation: string
  /** Their generations. */
  readonly members: Map<Link, string>
  readonly since: number
}

export class Life {
  private readonly links: ReadonlyArray<Link>
  private known: Known | null = null
  /** How often a node came back as it was: its generation alone does not show that it missed something. */
  private returns = 0
  /** Names that left while a node was not there; told when it is. */
  private left: Array<{ readonly link: Link; readonly name: string; readonly tenure: number }> = []

  constructor(links: ReadonlyArray<Link>) {
    this.links = links
  }

  /** Of the nodes that are there now, which become the members. */
  ask(): string {
    const there = this.links.filter(({ isUp }) => isUp)
    if (there.length === 0) throw new Failed("away", this.why())
    const { known } = this
    if (known !== null && this.overFor(performance.now()) === null) return known.generation
    const members = new Map(there.map((link) => [link, link.session!.welcome.generation]))
    if (known !== null && this.textOf(members) === known.generation) this.returns++
    this.known = { generation: this.textOf(members), members, since: performance.now() }
    return this.known.generation
  }

  /** Members that are there. Fails when there is none, or the life is over. */
  members(): Array<Link> {
    if (this.known === null) this.ask()
    const over = this.overFor(performance.now())
    if (over !== null) throw new Failed("refused", over)
    const there = [...this.known!.members.keys()].filter(({ isUp }) => isUp)
    if (there.length === 0) throw new Failed("away", this.why())
    return there
  }

  /** Done by all members, or by those that are members from now on. */
  async everywhere<A>(run: (link: Link) => Promise<A>): Promise<Array<A>> {
    const there = this.members()
    const known = this.known!
    const results = await Promise.allSettled(there.map(run))
    const done = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []))
    if (done.length === 0) throw (results[0] as PromiseRejectedResult).reason
    const isDone = (link: Link) => results[there.indexOf(link)]?.status === "fulfilled"
    for (const link of known.members.keys()) if (!isDone(link)) known.members.delete(link)
    return done
  }

  /** A name has left, as far as members go; the others are told by `tellLeft`. */
  hasLeft(name: string, tenure: number): void {
    for (const link of this.links) if (!this.known!.members.has(link)) this.left.push({ link, name, tenure })
    // Names expire by themselves, too.
    if (this.left.length > leftMax) this.left.splice(0, this.left.length - leftMax)
  }

  /** Tells members of names that left while they were not there. */
  async tellLeft(tell: (link: Link, name: string, tenure: number) => Promise<unknown>): Promise<void> {
    const members = this.known?.members
    const due = this.left.filter(({ link }) => members?.has(link) === true)
    this.left = this.left.filter((one) => !due.includes(one))
    await Promise.all(due.map(({ link, name, tenure }) => tell(link, name, tenure)))
  }

  /** Where to look something up: of the members that are well the one whose life is longest, for it has the most. */
  reader(): Link {
    const now = performance.now()
    const { known } = this
    const well = this.links.filter((link) => link.isHealthy(now))
    const members = well.filter((link) => known?.members.get(link) === link.session!.welcome.generation)
    // Of another life, and nothing else is there: it has what others have written by now.
    const begunAnew = well.filter((link) => known === null || known.members.has(link))
    let best: Link | null = null
    for (const link of members.length > 0 ? members : begunAnew) {
      if (best === null || link.session!.welcome.bornS < best.session!.welcome.bornS) best = link
    }
    if (best === null) throw new Failed("away", this.why())
    return best
  }

  why(): string {
    return this.links.map(({ name, why }) => `${name}: ${why || "does not answer lookups"}`).join("; ")
  }

  private textOf(members: ReadonlyMap<Link, string>): string {
    if (this.links.length === 1) return [...members.values()][0]!
    const all = this.links.map((link) => members.get(link) ?? "-").join(" ")
    return createHash("sha256").update(`${all} ${this.returns}`).digest("hex").slice(0, 16)
  }

  /** Why this life is over; null when it is not. */
  private overFor(now: number): string | null {
    const { known } = this
    if (known === null) return null
    for (const link of this.links) {
      if (!link.isUp) continue
      const { since, welcome } = link.session!
      const generation = known.members.get(link)
      if (generation !== undefined && generation !== welcome.generation) return `${link.name} has begun anew`
      const isBack = now - since > settledMs && now - known.since > pauseMs
      if (generation === undefined && isBack) return `${link.name} is there again and has missed something`
    }
    return null
  }
}

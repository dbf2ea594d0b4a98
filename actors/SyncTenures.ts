/**
 * SyncTenures: under which tenure each name is written to the metadata store, and what is to be done about it next.
 *
 * A slot has two names: that of its worker for its tiers, and the same with a question mark for what is guessed of it.
 * A resync is always the same: enter, tell all that is held while changes go on, and settle once that has been written.
 *
 *            changed                entered                 all written
 *   idle ─────────────▶ asked ──────────────────▶ filled ─────────────────▶ live
 *                        ▲ cleared                  ▲ walked                 │ due
 *   foreign ──owned──▶ waiting ──entered──▶ filling ┘  ◀─────────────────────┘
 *
 * `asked` was empty a moment ago, so all it holds waits in the queue; of one that is `waiting` nothing is queued: what changes
 * meanwhile will be found by the walk over the index. Pure; told the time.
 */

export type State = "foreign" | "idle" | "asked" | "waiting" | "filling" | "filled" | "live"

export interface Name {
  readonly slot: number
  readonly isGuess: boolean
  readonly text: string
  state: State
  stride: number
  /** 0 before the first. */
  tenure: number
  /** Grows when what was begun for it is void. */
  epoch: number
  /** The store says that it holds what it does not. */
  isWrong: boolean
  /** The index could not say all that changed: it is told anew before its time. */
  isStale: boolean
  /** It may settle when all that was queued up to this has been written. */
  watermark: number
  settledMs: number
  /** When the store last said that its tenure counts. */
  sureMs: number
  /** When it is told anew, though nothing is amiss. */
  dueMs: number
  /** When an idle one is taken to hold nothing; 0 when that is not set. */
  doubtMs: number
  /** It does not enter before. */
  retryMs: number
  /** Times in a row that a later tenure was found, and that it was not let in. */
  fenced: number
  refused: number
}

export type Step =
  | { readonly _tag: "Enter" | "Settle"; readonly name: Name; readonly epoch: number }
  /** It enters once more, so that it leaves with the last tenure there is. */
  | { readonly _tag: "Leave"; readonly text: string }
  /** `from`: where in the index the walk goes on; 0 at its beginning. */
  | { readonly _tag: "Walk"; readonly names: ReadonlyArray<Name>; readonly stride: number; readonly from: number }

export interface Options {
  readonly ttlMs: number
  /** Whether the index holds anything of a name now. */
  readonly holds: (slot: number, isGuess: boolean) => boolean
  /** What is queued of a name is not to be written any more. */
  readonly forget: (name: Name) => void
  /** In [0, 1): spreads what is due. */
  readonly random: () => number
}

/** Names told anew together, each with the epoch in which it counts. */
interface Group {
  readonly epochs: ReadonlyMap<Name, number>
  readonly toEnter: Array<Name>
  readonly stride: number
  from: number
}

/** Names told anew in one walk over the index: it costs the same for one as for many. */
const groupMax = 64
const refusedMs = 1_000
/** A store may have no room for minutes; then it has, and is to be told soon. */
const refusedMsMax = 60_000
const fencedMs = 1_000
const lookMs = 1_000
/** A router that stalled, or was cut off, may not know that another one has told of its workers meanwhile. */
const sureMs = 60_000
/** A router that is awake is asked what to do next more often; a member is dead to others after 1.6 s. */
const stalledMs = 1_400
/** Within it others have noticed that a router is back, and give back what they took over. */
const givenBackMs = 5_000
/** Asked of the store at each look, of those that have not been for so long. */
const unsureMax = 64
/** A publisher is whole again by then, or was never. */
const graceMs = 60_000
/** One that is stale is told anew when it has been so long, as a share of the time to live. */
const staleShare = 8
/** Names that left while the store was away; their blocks end by themselves. */
const leavesMax = 4_096

export class SyncTenures {
  /** By slot: that of its tiers, then that of its guesses. */
  private readonly names: Array<readonly [Name, Name] | undefined> = []
  private readonly options: Options
  private readonly asked = new Set<Name>()
  private readonly waiting = new Set<Name>()
  private readonly filled = new Set<Name>()
  /** Live ones, to be settled once more: whether their tenure counts. */
  private readonly unsure = new Set<Name>()
  private readonly leaves = new Set<string>()
  private group: Group | null = null
  private lookAtMs = 0
  private awakeMs = Number.POSITIVE_INFINITY
  /** Times from which on live names that were not asked about since then are asked about. */
  private doubtsMs: ReadonlyArray<number> = []

  constructor(options: Options) {
    this.options = options
  }

  of(slot: number, isGuess: boolean): Name | undefined {
    return this.names[slot]?.[isGuess ? 1 : 0]
  }

  all(): ReadonlyArray<Name> {
    return this.names.flatMap((both) => both ?? [])
  }

  join(slot: number, text: string, stride: number, isOwned: boolean): void {
    this.leave(slot)
    const make = (isGuess: boolean): Name => ({
      ...{ slot, isGuess, text: isGuess ? `${text}?` : text, state: "foreign", stride, tenure: 0, epoch: 0 },
      ...{ isWrong: false, isStale: false, watermark: 0, settledMs: 0, sureMs: 0, dueMs: 0, doubtMs: 0, retryMs: 0 },
      ...{ fenced: 0, refused: 0 }
    })
    const both = [make(false), make(true)] as const
    this.names[slot] = both
    for (const name of both) {
      // It is back before it was said to have left.
      name.isWrong = this.leaves.delete(name.text)
      if (isOwned) this.begin(name)
    }
  }

  /** The slot's worker is nobody's any more: what it held is gone. */
  leave(slot: number): void {
    const both = this.names[slot]
    this.names[slot] = undefined
    for (const name of both ?? []) {
      if (name.state !== "foreign") this.leaveLater(name.text)
      this.void(name, "foreign")
    }
  }

  own(slot: number, isOwned: boolean): void {
    for (const name of this.names[slot] ?? []) {
      if ((name.state !== "foreign") === isOwned) continue
      if (isOwned) this.begin(name)
      else {
        this.void(name, "foreign")
        // What it holds is another router's to say.
        name.tenure = 0
        name.isWrong = false
      }
    }
  }

  setStride(slot: number, stride: number): void {
    for (const name of this.names[slot] ?? []) {
      if (name.stride === stride) continue
      name.stride = stride
      if (name.state !== "foreign" && name.state !== "idle") this.void(name, "waiting")
    }
  }

  /** Something was stored for a name, or removed. Answers with it when that is to be queued. */
  changed(slot: number, isGuess: boolean, isStored: boolean): Name | null {
    const name = this.of(slot, isGuess)
    if (name === undefined || name.state === "foreign" || name.state === "waiting") return null
    if (name.state === "idle") {
      if (!isStored) return null
      this.void(name, "asked")
    }
    return name
  }

  /** It holds nothing any more. */
  cleared(slot: number, isGuess: boolean): void {
    const name = this.of(slot, isGuess)
    if (name !== undefined) this.emptied(name)
  }

  /** The index lost everything. */
  lost(): void {
    this.group = null
    for (const name of this.all()) this.emptied(name)
  }

  /** All it holds is to be told anew: not every change was, or will be. */
  redo(name: Name): void {
    if (name.state !== "foreign" && name.state !== "idle") this.void(name, "waiting")
  }

  /** The store has lost everything, every tenure with it. */
  begunAnew(): void {
    this.group = null
    for (const name of this.all()) {
      name.tenure = 0
      name.isWrong = false
      name.retryMs = 0
      name.refused = 0
      name.epoch++
      if (name.state !== "foreign" && name.state !== "asked") this.begin(name)
    }
  }

  entered({ epoch, name }: { readonly name: Name; readonly epoch: number }, tenure: number, lastSeq: number): void {
    name.tenure = tenure
    name.refused = 0
    if (this.of(name.slot, name.isGuess) !== name) this.leaveLater(name.text)
    else if (name.state === "foreign") name.tenure = 0
    if (name.epoch !== epoch) return
    if (name.state !== "asked") {
      name.state = "filling"
      name.isStale = false
      return
    }
    // What is not so any more is taken back at once, else not before there is something in its place.
    this.fill(name, name.isWrong ? 0 : lastSeq)
  }

  /** The store would not let it enter. */
  refused({ epoch, name }: { readonly name: Name; readonly epoch: number }, nowMs: number): void {
    if (name.epoch !== epoch) return
    this.void(name, "waiting")
    name.retryMs = nowMs + Math.min(refusedMsMax, refusedMs * 2 ** name.refused++)
  }

  /** False in `isLast`: somebody else has entered since. */
  settled(
    { epoch, name }: { readonly name: Name; readonly epoch: number },
    isLast: boolean,
    nowMs: number
  ): "live" | "sure" | "fenced" | "void" {
    if (name.epoch !== epoch) return "void"
    this.filled.delete(name)
    this.unsure.delete(name)
    if (!isLast) {
      this.void(name, "waiting")
      name.retryMs = nowMs + Math.min(this.options.ttlMs / 4, fencedMs * 2 ** name.fenced++)
      return "fenced"
    }
    name.sureMs = nowMs
    if (name.state === "live") {
      // Nobody contends for it: not a moment after it settled, when that cannot be told.
      name.fenced = 0
      return "sure"
    }
    name.state = "live"
    name.isWrong = false
    name.settledMs = nowMs
    // Half of it, less what a whole fleet takes; spread, so that one that joined at once does not come due at once.
    name.dueMs = nowMs + (0.45 - 0.1 * this.options.random()) * this.options.ttlMs
    return "live"
  }

  left(text: string): void {
    this.leaves.delete(text)
  }

  /** The walk has come so far; at its end (0) `lastSeq` is what it queued last. */
  walked(to: number, lastSeq: number): void {
    if (this.group !== null) this.group.from = to
    if (to !== 0) return
    for (const name of this.walking()) this.fill(name, lastSeq)
    this.group = null
  }

  /** What to do now; `oldestSeq` of what has yet to be written, Infinity for nothing. */
  next(nowMs: number, oldestSeq: number): Step | null {
    // Stopped, or without a core: others may have told of its workers meanwhile, or be about to.
    if (nowMs - this.awakeMs > stalledMs) this.doubtsMs = [nowMs, nowMs + givenBackMs]
    this.awakeMs = nowMs
    for (const name of this.asked) return { _tag: "Enter", name, epoch: name.epoch }
    const last = this.last(oldestSeq)
    if (last !== null) return last
    if (nowMs >= this.lookAtMs) this.look(nowMs)
    for (const name of this.unsure) return { _tag: "Settle", name, epoch: name.epoch }
    this.group ??= this.choose(nowMs)
    if (this.group === null) return null
    const { epochs, from, stride, toEnter } = this.group
    for (let name = toEnter[0]; name !== undefined; name = toEnter[0]) {
      const isOver = name.epoch !== epochs.get(name) || name.state === "filling"
      if (!isOver) return { _tag: "Enter", name, epoch: name.epoch }
      toEnter.shift()
    }
    const names = this.walking()
    if (names.length > 0) return { _tag: "Walk", names, stride, from }
    this.group = null
    return null
  }

  /** As `next`, of a router that stops: what only ends what was begun. */
  last(oldestSeq: number): Exclude<Step, { _tag: "Walk" }> | null {
    for (const text of this.leaves) return { _tag: "Leave", text }
    for (const name of this.filled) {
      if (name.watermark < oldestSeq) return { _tag: "Settle", name, epoch: name.epoch }
    }
    return null
  }

  private begin(name: Name): void {
    name.doubtMs = 0
    this.void(name, this.options.holds(name.slot, name.isGuess) ? "waiting" : "idle")
    if (name.isWrong && name.state === "idle") this.deny(name)
  }

  private emptied(name: Name): void {
    if (name.state !== "foreign" && name.state !== "idle") this.deny(name)
  }

  /** It holds nothing, whatever the store says. */
  private deny(name: Name): void {
    this.void(name, "asked")
    name.isWrong = true
  }

  /** Ends what is under way for a name. */
  private void(name: Name, state: State): void {
    name.epoch++
    name.state = state
    this.asked.delete(name)
    this.waiting.delete(name)
    this.filled.delete(name)
    this.unsure.delete(name)
    this.options.forget(name)
    if (state === "asked") this.asked.add(name)
    if (state === "waiting") this.waiting.add(name)
  }

  private fill(name: Name, watermark: number): void {
    name.state = "filled"
    name.watermark = watermark
    this.asked.delete(name)
    this.filled.add(name)
  }

  private leaveLater(text: string): void {
    if (this.leaves.size < leavesMax && this.all().every((name) => name.text !== text)) this.leaves.add(text)
  }

  /** Names of the walk for which it still counts. */
  private walking(): ReadonlyArray<Name> {
    const names: Array<Name> = []
    for (const [name, epoch] of this.group?.epochs ?? []) {
      if (name.epoch === epoch && name.state === "filling") names.push(name)
    }
    return names
  }

  /** Those that are due again: they stay live until they have entered. And those of whom it is not sure that they are. */
  private look(nowMs: number): void {
    this.lookAtMs = nowMs + lookMs
    const doubtMs = this.doubtsMs.findLast((ms) => ms <= nowMs) ?? Number.NEGATIVE_INFINITY
    for (const name of this.all()) {
      if (name.state === "idle") this.doubt(name, nowMs)
      const isDue = nowMs >= name.dueMs || (name.isStale && nowMs - name.settledMs >= this.options.ttlMs / staleShare)
      if (name.state !== "live") continue
      if (isDue) this.waiting.add(name)
      else if ((name.sureMs < doubtMs || nowMs - name.sureMs >= sureMs) && this.unsure.size < unsureMax)
        this.unsure.add(name)
    }
  }

  /**
   * Nothing is known of it here: it holds nothing, or its events are still on their way. What the store says of it, from an
   * earlier life or another router, is good for as long as they may take.
   */
  private doubt(name: Name, nowMs: number): void {
    if (name.doubtMs === 0) name.doubtMs = nowMs + graceMs
    if (nowMs < name.doubtMs) return
    name.doubtMs = Infinity
    this.deny(name)
  }

  private choose(nowMs: number): Group | null {
    const ready = [...this.waiting].filter(({ retryMs }) => retryMs <= nowMs)
    const first = ready.find(({ isWrong }) => isWrong) ?? ready[0]
    if (first === undefined) return null
    const names = ready
      .filter(({ stride }) => stride === first.stride)
      .sort((a, b) => Number(b.isWrong) - Number(a.isWrong))
      .slice(0, groupMax)
    for (const name of names) this.waiting.delete(name)
    const epochs = new Map(names.map((name) => [name, name.epoch]))
    return { stride: first.stride, toEnter: names, epochs, from: 0 }
  }
}

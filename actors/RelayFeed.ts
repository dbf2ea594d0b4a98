/**
 * RelayFeed: what one listener hears of its publisher: from the engine's socket, or from the log that another replica
 * writes. A machine without runtime; told the time.
 *
 * A change of source is `disconnected` and `connected` to the listener, which then proves by a replay that nothing is
 * missing. The old source is left when the new one can be heard, so that a change costs no time.
 *
 * The listener hears nothing before `prepared`: what comes until then is held, in bounds, and what its picture was
 * prepared with is left out.
 */
import * as LogEntry from "../src/hot/LogEntry.ts"
import type { Listener } from "../src/ports/EventStream.ts"
import type { Lease } from "./Leases.ts"
import type { Role } from "./RelayRole.ts"

export interface Hands extends Listener {
  readonly openDirect: () => void
  readonly closeDirect: () => void
  /** Writes to the log, under the epoch of the lease. */
  readonly append: (kind: LogEntry.Kind, seq?: number, payload?: Uint8Array) => void
}

/** Shared by all feeds of a relay. */
export interface Counters {
  heard: number
  /** Entries of owners that were none any more. */
  fenced: number
  /** Entries that the prepared picture had. */
  skipped: number
  heldDropped: number
  heldBytes: number
}

interface Held {
  /** In the log; Infinity for what the socket told. */
  readonly position: number
  readonly seq: number
  readonly payload: Uint8Array
}

/** Before it is taken that an owner hears the engine, though it did not say so: its word is a message away. */
const awaitMs = 1_000
/** Before an owner says that it does not hear the engine yet: its socket is open sooner as a rule, and the word is in time. */
const openMs = 500
/** From a sign that the log lacks something to looking: such signs come in twos and threes, and each look is a replay. */
const lookMs = 250
const heldMax = 2_000
const heldBytesMax = 4 * 1024 * 1024
/** Over all feeds. */
const heldBytesTotal = 64 * 1024 * 1024

export class RelayFeed {
  role: Role = "none"
  source: "none" | "direct" | "log" = "none"
  /** Place in the log of the last entry of this publisher; 0 for none. */
  position = 0
  private readonly hands: Hands
  private readonly counters: Counters
  /** The socket is open whoever has the lease. */
  private readonly steady: boolean
  private directOpen = false
  private directUp = false
  /** It was taken for connected because something came; the signal follows. */
  private inferred = false
  /** The listener was told that it is connected. */
  private told = false
  /** When the others are told that the socket is not up, unless it is by then. */
  private downAtMs = Infinity
  /** When it is connected anew, to look for what the log lacks. */
  private lookAtMs = Infinity
  private isPrepared = false
  private lostBefore = false
  private skipTo = 0
  private held: Array<Held> = []
  private heldBytes = 0
  private lease: Lease | null = null
  private epochMax = 0
  /** What the last owner heard of said of its socket. */
  private saidEpoch = -1
  private saidUp = false
  private saidDownMs = Infinity

  constructor(hands: Hands, counters: Counters, steady: boolean) {
    this.hands = hands
    this.counters = counters
    this.steady = steady
  }

  /** Since when the owner says that it does not hear the engine; Infinity when it does, or has said nothing. */
  get deafFromMs(): number {
    return this.lease !== null && this.saidEpoch >= this.lease.epoch ? this.saidDownMs : Infinity
  }

  /** `lease`: who else has it and is alive. `well`: the log can be heard. */
  update(role: Role, lease: Lease | null, well: boolean, nowMs: number): void {
    const { hands } = this
    const became = this.role !== role
    this.role = role
    this.lease = lease
    if (lease !== null) this.epochMax = Math.max(this.epochMax, lease.epoch)
    const wanted = role === "owner" || role === "solo"
    if ((wanted || this.steady) && !this.directOpen) {
      this.directOpen = true
      hands.openDirect()
    }
    if (role !== "owner") this.downAtMs = Infinity
    else if (became && this.directUp) this.say(true)
    else if (became) this.downAtMs = nowMs + openMs
    if (nowMs >= this.downAtMs) this.say(false)
    if (wanted) {
      if (this.source === "direct") return
      if (this.directUp) this.attach("direct")
      // Nothing comes from there any more, and nothing can be asked for.
      else if (role === "owner" || !well) this.setUp(false)
    } else if (role === "follower" && !this.steady) {
      if (nowMs >= this.lookAtMs) this.again()
      const up = well ? this.isLogUp(nowMs) : this.source === "log" && this.told
      if (this.source !== "log") {
        if (up) this.toLog()
      } else {
        this.setUp(up)
        if (this.directOpen) this.close()
      }
    }
  }

  directConnected(): void {
    if (this.inferred) {
      this.inferred = false
      return
    }
    this.directUp = true
    if (this.role === "owner") this.say(true)
    if (this.source === "direct") this.again()
    else if (this.role === "owner" || this.role === "solo") this.attach("direct")
  }

  directDisconnected(): void {
    this.directUp = false
    this.inferred = false
    if (this.role === "owner") this.say(false)
    if (this.source === "direct") this.setUp(false)
  }

  directMessage(seq: number, payload: Uint8Array): void {
    if (!this.directUp) {
      this.directConnected()
      this.inferred = true
    }
    if (this.role === "owner") this.hands.append(LogEntry.BATCH, seq, payload)
    if (this.source === "direct") this.deliver(Infinity, seq, payload)
  }

  /** The socket's subscription has ended by itself, and is opened anew. */
  directLost(): void {
    if (this.directUp) this.directDisconnected()
  }

  logged(position: number, entry: LogEntry.LogEntry, nowMs: number): void {
    const { counters, lease } = this
    const { epoch, kind, payload, seq } = entry
    this.position = position
    if (epoch < this.epochMax && epoch !== lease?.epoch) {
      counters.fenced++
      return
    }
    counters.heard++
    this.epochMax = Math.max(this.epochMax, epoch)
    if (kind !== LogEntry.BATCH || epoch !== this.saidEpoch || !this.saidUp) {
      this.saidEpoch = epoch
      this.saidUp = kind !== LogEntry.DISCONNECTED
      this.saidDownMs = this.saidUp ? Infinity : Math.min(this.saidDownMs, nowMs)
      if (this.source === "log") {
        // Its first batch, of an owner that was taken for connected already, says nothing new.
        const assumed = kind === LogEntry.BATCH && epoch === lease?.epoch
        if (!this.saidUp) this.setUp(false)
        else if (assumed || !this.told) this.setUp(true)
        else this.look(nowMs)
      } else if (this.role === "follower" && this.saidUp && epoch === lease?.epoch && !this.steady) this.toLog()
    }
    if (kind !== LogEntry.BATCH || this.steady) return
    if (this.source === "log" || (this.source === "none" && !this.isPrepared)) this.deliver(position, seq, payload)
  }

  /** Entries of the log were missed. */
  logLost(nowMs: number): void {
    this.skipTo = 0
    // Places may be counted anew, and what is being prepared knows the old ones.
    if (!this.isPrepared) this.lostBefore = true
    if (this.source === "log" && this.told) this.look(nowMs)
  }

  /** The listener has what the log says up to a position, and may hear what follows. */
  prepared(position: number): void {
    this.isPrepared = true
    this.skipTo = this.lostBefore ? 0 : position
    const { held } = this
    this.held = []
    this.counters.heldBytes -= this.heldBytes
    this.heldBytes = 0
    // Who has a picture applies what follows on it, and is then asked for no more than the last of it.
    const isFirst = this.skipTo === 0
    if (isFirst && this.told) this.hands.connected()
    for (const { payload, position: at, seq } of held) this.deliver(at, seq, payload)
    if (!isFirst && this.told) this.hands.connected()
  }

  /** The followers are to look whether something is missing. */
  lookAgain(): void {
    if (this.role === "owner" && this.directUp) this.say(true)
  }

  /** It hears nothing any more. */
  end(): void {
    this.counters.heldBytes -= this.heldBytes
    this.heldBytes = 0
    this.held = []
  }

  private isLogUp(nowMs: number): boolean {
    if (this.lease === null) return false
    if (this.saidEpoch >= this.lease.epoch) return this.saidUp
    return nowMs - this.lease.sinceMs >= awaitMs
  }

  private say(up: boolean): void {
    this.downAtMs = Infinity
    this.hands.append(up ? LogEntry.CONNECTED : LogEntry.DISCONNECTED)
  }

  private close(): void {
    this.directOpen = false
    this.directUp = false
    this.inferred = false
    this.hands.closeDirect()
  }

  private toLog(): void {
    this.attach("log")
    if (this.directOpen) this.close()
  }

  private attach(source: "direct" | "log"): void {
    this.setUp(false)
    this.source = source
    this.setUp(true)
  }

  private look(nowMs: number): void {
    this.lookAtMs = Math.min(this.lookAtMs, nowMs + lookMs)
  }

  /** It is connected, perhaps anew. */
  private again(): void {
    this.setUp(false)
    this.setUp(true)
  }

  private setUp(up: boolean): void {
    if (this.told === up) return
    this.told = up
    this.lookAtMs = Infinity
    if (!this.isPrepared) return
    if (up) this.hands.connected()
    else this.hands.disconnected()
  }

  private deliver(position: number, seq: number, payload: Uint8Array): void {
    if (this.isPrepared) {
      if (position > this.skipTo) this.hands.message(seq, payload)
      else this.counters.skipped++
      return
    }
    this.held.push({ position, seq, payload })
    this.heldBytes += payload.length
    this.counters.heldBytes += payload.length
    while (
      this.held.length > heldMax ||
      this.heldBytes > heldBytesMax ||
      (this.counters.heldBytes > heldBytesTotal && this.held.length > 0)
    ) {
      const { length } = this.held.shift()!.payload
      this.heldBytes -= length
      this.counters.heldBytes -= length
      this.counters.heldDropped++
    }
  }
}

import { describe, expect, it } from "vitest"
import * as EventSequence from "../../src/hot/EventSequence.ts"

const payload = (life: number, seq: number): Uint8Array => Uint8Array.of(life, seq & 255, (seq >> 8) & 255, 7)

const options: EventSequence.Options = { replayable: true, heldMax: 100, heldBytesMax: 10_000, attemptsMax: 3 }

/** A publisher with a ring, a sequence that follows it, and the wire between them in the test's hands. */
const pair = (given: Partial<EventSequence.Options> = {}, ringMax = 10_000) => {
  const state = EventSequence.make({ ...options, ...given })
  let life = 1
  let next = 0
  let ring: Array<number> = []
  /** What the follower holds: batches applied since its last purge. */
  let applied: Array<Uint8Array> = []
  let purges = 0
  const orders: Array<Extract<EventSequence.Output, { _tag: "Replay" }>> = []
  const feed = (input: EventSequence.Input) => {
    for (const output of EventSequence.step(state, input)) {
      if (output._tag === "Apply") applied.push(output.payload)
      else if (output._tag === "Purge") {
        applied = []
        purges++
      } else orders.push(output)
    }
  }
  const self = {
    state,
    orders,
    feed,
    publish: () => {
      ring.push(next)
      if (ring.length > ringMax) ring.shift()
      return next++
    },
    skip: () => next++,
    send: (seq: number, of = life) => feed({ _tag: "Live", seq, payload: payload(of, seq) }),
    both: (count = 1) => {
      for (let i = 0; i < count; i++) self.send(self.publish())
    },
    restart: () => {
      life++
      next = 0
      ring = []
    },
    /** Serves the oldest order; `between` happens after its last batch and before its end. */
    serve: (between = () => {}) => {
      const order = orders.shift()!
      feed({ _tag: "ReplayBegun", id: order.id })
      for (const seq of ring.filter((n) => n >= order.from)) {
        feed({ _tag: "Replayed", id: order.id, seq, payload: payload(life, seq) })
      }
      between()
      feed({ _tag: "ReplayDone", id: order.id })
      return order
    },
    fail: () => {
      const order = orders.shift()!
      feed({ _tag: "ReplayBegun", id: order.id })
      feed({ _tag: "ReplayFailed", id: order.id })
      return order
    },
    serveAll: () => {
      let left = 100
      while (orders.length > 0 && left-- > 0) self.serve()
      expect(left).toBeGreaterThan(0)
    },
    seqs: () => applied.map((bytes) => bytes[1]! + bytes[2]! * 256),
    lives: () => new Set(applied.map((bytes) => bytes[0]!)),
    life: () => life,
    next: () => next,
    purges: () => purges
  }
  return self
}

const upTo = (count: number, from = 0) => Array.from({ length: count - from }, (_, i) => i + from)

describe("EventSequence", () => {
  it("joins late: what was published before comes by replay, once", () => {
    const p = pair()
    for (let i = 0; i < 5; i++) p.publish()
    p.feed({ _tag: "Connected" })
    p.both(2)
    expect(p.seqs()).toEqual([])
    expect(p.state).toMatchObject({ doubt: true, why: "reading what was published before" })
    p.serve(() => p.both())
    expect(p.seqs()).toEqual(upTo(8))
    expect(p.state).toMatchObject({ phase: "live", complete: true, doubt: false, purges: 0 })
  })

  it("fills a gap by replay and applies what came meanwhile after it", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(3)
    p.publish()
    p.both()
    expect(p.state.doubt).toBe(true)
    expect(p.seqs()).toEqual([0, 1, 2])
    expect(p.serve().from).toBe(2)
    expect(p.seqs()).toEqual(upTo(5))
    expect(p.state).toMatchObject({ doubt: false, gaps: 1, purges: 0, complete: true })
  })

  it("puts reordered batches in order and drops duplicates", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(2)
    const [a, b, c] = [p.publish(), p.publish(), p.publish()]
    p.send(b)
    p.send(c)
    p.send(a)
    p.serveAll()
    p.send(a)
    p.send(c)
    expect(p.seqs()).toEqual(upTo(5))
    expect(p.state).toMatchObject({ purges: 0, restarts: 0, duplicates: 2 })
  })

  it("finds a lost last message by looking", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(3)
    p.publish()
    p.feed({ _tag: "Look" })
    expect(p.state.doubt).toBe(false)
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(4))
    expect(p.state.doubt).toBe(false)
  })

  it("applies what is heard while it only looks, and holds back what follows a hole", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(3)
    p.feed({ _tag: "Look" })
    p.both(2)
    expect(p.seqs()).toEqual(upTo(5))
    p.publish()
    p.both()
    expect(p.seqs()).toEqual(upTo(5))
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(7))
    p.feed({ _tag: "Look" })
    p.serve(() => {
      p.publish()
      p.both(2)
    })
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(10))
    expect(p.state).toMatchObject({ doubt: false, complete: true, purges: 0, gaps: 2 })
  })

  it("keeps nothing it hears before the replay begins: its answer holds that", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.both(50)
    expect(p.state.held.size).toBe(0)
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(50))
  })

  it("asks a quiet publisher nothing that would cost the picture", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(3)
    for (let i = 0; i < 5; i++) {
      p.feed({ _tag: "Look" })
      p.serveAll()
      p.feed({ _tag: "Look" })
      p.fail()
    }
    expect(p.seqs()).toEqual(upTo(3))
    expect(p.state).toMatchObject({ purges: 0, doubt: false, phase: "live" })
  })

  it("starts from empty when the engine has restarted, seen by its first message", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(5)
    p.restart()
    p.both(2)
    p.serveAll()
    expect(p.seqs()).toEqual([0, 1])
    expect(p.lives()).toEqual(new Set([2]))
    expect(p.state).toMatchObject({ restarts: 1, complete: true, doubt: false })
  })

  it("recognises another life behind a reconnect, even where the numbers go on", () => {
    for (const published of [0, 2, 5, 6, 9]) {
      const p = pair()
      p.feed({ _tag: "Connected" })
      p.serve()
      p.both(5)
      p.feed({ _tag: "Disconnected" })
      p.restart()
      for (let i = 0; i < published; i++) p.publish()
      p.feed({ _tag: "Connected" })
      p.both()
      p.serveAll()
      p.feed({ _tag: "Look" })
      p.serveAll()
      expect(p.seqs()).toEqual(upTo(published + 1))
      expect(p.lives()).toEqual(new Set([2]))
      expect(p.state).toMatchObject({ doubt: false, complete: true })
    }
  })

  it("keeps everything over a reconnect to the same life", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(5)
    p.feed({ _tag: "Disconnected" })
    p.publish()
    p.feed({ _tag: "Connected" })
    expect(p.state.doubt).toBe(true)
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(6))
    expect(p.state).toMatchObject({ purges: 0, doubt: false })
  })

  it("admits lost history when the ring is too short, and goes on with what there is", () => {
    const p = pair({}, 3)
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(4)
    for (let i = 0; i < 10; i++) p.publish()
    p.both()
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(15, 12))
    expect(p.state).toMatchObject({ complete: false, doubt: false, lost: 1 })
  })

  it("works without replay: a gap empties the picture, and the stream rebuilds it", () => {
    const p = pair({ replayable: false })
    p.publish()
    p.feed({ _tag: "Connected" })
    p.both(2)
    expect(p.state).toMatchObject({ complete: false, purges: 0 })
    p.publish()
    p.both(2)
    expect(p.seqs()).toEqual([4, 5])
    p.send(3)
    p.send(5)
    expect(p.seqs()).toEqual([4, 5])
    p.restart()
    p.both()
    expect(p.seqs()).toEqual([0])
    expect(p.state).toMatchObject({ restarts: 1, complete: true })
    expect(p.orders).toEqual([])
  })

  it("believes nothing after a reconnect without replay: the numbers may go on in another life", () => {
    const p = pair({ replayable: false })
    p.feed({ _tag: "Connected" })
    p.both(3)
    p.feed({ _tag: "Disconnected" })
    p.restart()
    for (let i = 0; i < 3; i++) p.publish()
    p.feed({ _tag: "Connected" })
    expect(p.seqs()).toEqual([])
    p.both()
    expect(p.seqs()).toEqual([3])
    expect(p.lives()).toEqual(new Set([2]))
    expect(p.state).toMatchObject({
      complete: false,
      lostWhy: "reconnected, and no replay address tells what was missed"
    })
  })

  it("gives up on a replay that keeps failing, forgets, and goes on from what comes", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(2)
    p.publish()
    p.both(2)
    expect([p.fail().attempt, p.fail().attempt, p.fail().attempt]).toEqual([0, 1, 2])
    expect(p.state).toMatchObject({
      phase: "live",
      complete: false,
      doubt: false,
      lost: 1,
      lostWhy: "sequence gap at 2, and its replay fails"
    })
    expect(p.seqs()).toEqual([])
    p.both(2)
    expect(p.seqs()).toEqual([5, 6])
  })

  it("goes on from what it heard while replays failed, unless that has a hole", () => {
    for (const hole of [false, true]) {
      const p = pair()
      p.feed({ _tag: "Connected" })
      p.serve()
      p.both(2)
      p.publish()
      p.both()
      p.fail()
      p.both(2)
      if (hole) p.publish()
      p.fail()
      p.both(2)
      p.fail()
      expect(p.seqs()).toEqual(hole ? [] : upTo(8, 4))
      p.both()
      expect(p.seqs()).toEqual(hole ? [9] : upTo(9, 4))
      expect(p.state).toMatchObject({ doubt: false, complete: false, lost: 1, heldBytes: 0 })
    }
  })

  it("asks once for a later hole while no replay succeeds, and as often as ever after one has", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    const hole = () => {
      p.publish()
      p.both()
    }
    p.both()
    hole()
    for (let i = 0; i < 3; i++) p.fail()
    expect(p.orders.length).toBe(0)
    p.both()
    hole()
    p.fail()
    expect(p.orders.length).toBe(0)
    p.both()
    hole()
    p.serve()
    expect(p.seqs().at(-1)).toBe(p.next() - 1)
    hole()
    p.fail()
    expect(p.orders.length).toBe(1)
  })

  it("believes nothing it cannot verify: a reconnect whose replays fail costs the picture", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(5)
    p.restart()
    for (let i = 0; i < 5; i++) p.publish()
    p.feed({ _tag: "Connected" })
    for (let i = 0; i < 3; i++) p.fail()
    p.both()
    expect(p.seqs()).toEqual([5])
    expect(p.lives()).toEqual(new Set([2]))
  })

  it("asks again for what was dropped inside a replay", () => {
    const p = pair()
    for (let i = 0; i < 10; i++) p.publish()
    p.feed({ _tag: "Connected" })
    const order = p.orders.shift()!
    p.feed({ _tag: "ReplayBegun", id: order.id })
    for (const seq of [0, 1, 2, 6, 7]) p.feed({ _tag: "Replayed", id: order.id, seq, payload: payload(1, seq) })
    p.feed({ _tag: "ReplayDone", id: order.id })
    expect(p.state).toMatchObject({ doubt: true, why: "sequence gap at 3", purges: 0 })
    expect(p.serve().from).toBe(2)
    expect(p.seqs()).toEqual(upTo(10))
    expect(p.state).toMatchObject({ doubt: false, complete: true, purges: 0 })
  })

  it("goes on when the publisher itself has skipped a number", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(2)
    p.skip()
    p.both(2)
    p.serveAll()
    expect(p.seqs()).toEqual([3, 4])
    expect(p.state).toMatchObject({ phase: "live", doubt: false, complete: false, lost: 1 })
  })

  it("keeps its picture when a long queue comes after the replay that overtook it", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(10)
    for (let i = 0; i < 5_000; i++) p.publish()
    p.feed({ _tag: "Look" })
    p.serve()
    for (let seq = 10; seq < 2_000; seq++) p.send(seq)
    p.serve(() => {
      for (let seq = 2_000; seq < 5_010; seq++) p.send(seq)
    })
    p.both()
    expect(p.orders.length).toBe(0)
    expect(p.state).toMatchObject({ doubt: false, complete: true, purges: 0, restarts: 0, next: 5_011 })
  })

  it("recognises another life by an old number it cannot compare", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(3_000)
    p.restart()
    p.publish()
    p.both(2)
    p.serveAll()
    expect(p.seqs()).toEqual([0, 1, 2])
    expect(p.lives()).toEqual(new Set([2]))
    expect(p.state).toMatchObject({ doubt: false, complete: true })
  })

  it("does not ask for ever for what it heard of and no replay has", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    p.serve()
    p.both(2)
    // Sent, and never kept for replay.
    p.send(4)
    p.serve()
    expect(p.orders.length).toBe(0)
    expect(p.state).toMatchObject({
      doubt: false,
      complete: false,
      lost: 1,
      lostWhy: "batch 2 was published, and is not to be had"
    })
    p.both()
    expect(p.seqs()).toEqual([2])
  })

  it("holds back no more than it may, and fetches the rest", () => {
    const p = pair({ heldMax: 3 })
    p.feed({ _tag: "Connected" })
    p.serve()
    p.publish()
    p.both(10)
    p.serve(() => {
      p.both(10)
      expect(p.state.held.size).toBe(3)
    })
    p.serveAll()
    p.both()
    p.serveAll()
    expect(p.seqs()).toEqual(upTo(22))
    expect(p.state).toMatchObject({ heldBytes: 0, purges: 0 })
  })

  it("ignores what an abandoned replay still says", () => {
    const p = pair()
    p.feed({ _tag: "Connected" })
    const old = p.orders.shift()!
    p.feed({ _tag: "ReplayBegun", id: old.id })
    p.feed({ _tag: "Resync", why: "told to" })
    p.feed({ _tag: "Replayed", id: old.id, seq: 5, payload: payload(9, 5) })
    p.feed({ _tag: "ReplayDone", id: old.id })
    p.both(2)
    p.serveAll()
    expect(p.seqs()).toEqual([0, 1])
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "ends up with the publisher's own history whatever the wire does, seed %i",
    (seed) => {
      let random = seed * 7_919
      const next = (n: number) => {
        random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
        return (random >>> 8) % n
      }
      for (let round = 0; round < 150; round++) {
        const ringMax = next(4) === 0 ? 4 : 1_000
        const replayable = next(4) > 0
        const p = pair({ heldMax: next(3) === 0 ? 5 : 100, replayable }, ringMax)
        const wire: Array<readonly [number, number]> = []
        p.feed({ _tag: "Connected" })
        for (let i = 0; i < 150; i++) {
          const what = next(100)
          if (what < 50) wire.push([p.publish(), p.life()])
          else if (what < 56) p.publish()
          else if (what < 60 && wire.length > 0) wire.push(wire[next(wire.length)]!)
          else if (what < 64 && wire.length > 1) wire.push(wire.splice(next(wire.length), 1)[0]!)
          else if (what < 66) {
            // A restart tears the connection: what was on the wire of the old life still arrives, or is lost.
            if (next(2) === 0) wire.length = 0
            for (const [seq, life] of wire.splice(0)) p.send(seq, life)
            p.feed({ _tag: "Disconnected" })
            p.restart()
            p.feed({ _tag: "Connected" })
          } else if (what < 72) p.feed({ _tag: "Look" })
          else if (what < 85 && p.orders.length > 0) {
            if (next(6) === 0) p.fail()
            else p.serve(() => wire.length > 0 && p.send(...wire.shift()!))
          } else for (const [seq, life] of wire.splice(0, 1 + next(4))) p.send(seq, life)
        }
        for (const [seq, life] of wire) p.send(seq, life)
        p.serveAll()
        // Where nothing can be asked for, the next message shows what was lost.
        if (!replayable) p.both()
        for (let i = 0; i < 2; i++) {
          p.feed({ _tag: "Look" })
          p.serveAll()
        }
        const seqs = p.seqs()
        if (p.next() > 0) {
          expect(p.lives()).toEqual(new Set([p.life()]))
          expect(seqs.at(-1)).toBe(p.next() - 1)
        }
        expect(seqs).toEqual(upTo(p.next(), seqs[0] ?? p.next()))
        expect(p.state).toMatchObject({ phase: "live", doubt: false, next: p.next() })
        expect(p.state.complete).toBe(seqs.length === p.next())
        expect(p.state.held.size).toBe(0)
        expect(p.state.heldBytes).toBe(0)
      }
    }
  )
})

/** What every Bus does, said once: the twin in memory and NATS must not differ where replicas could notice. */
import { Effect, Exit, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Bus, BusError, LogEntry, Row, TableName } from "../../src/ports/Bus.ts"

export interface Replica {
  readonly bus: Bus["Service"]
  /** Cuts it off from the broker, or not any more; done when its status says so. */
  readonly cut: (away: boolean) => Promise<void>
}

/** A broker with a deployment that nobody used before. */
export interface Broker {
  readonly replica: () => Promise<Replica>
  /** It loses all that it kept. */
  readonly wipe: () => Promise<void>
  /** Of the log it keeps the last entries only. */
  readonly truncate: (entries: number) => Promise<void>
  readonly close: () => Promise<void>
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (data: Uint8Array): string => new TextDecoder().decode(data)
const soon = <A>(look: () => A | Promise<A>) => vi.waitFor(look, { timeout: 15_000, interval: 5 })
/** Long enough for what should not come to come. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 50))

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)
/** The error's reason and what it says, or "done". */
const outcome = <A>(effect: Effect.Effect<A, BusError>): Promise<string> =>
  run(
    effect.pipe(
      Effect.as("done"),
      Effect.catch(({ detail, reason }) => Effect.succeed(reason === "refused" ? `refused: ${detail}` : reason))
    )
  )

export const busConformance = (name: string, broker: () => Promise<Broker>): void => {
  describe(name, () => {
    let shared: Broker
    let scope: Scope.Closeable
    /** Begins something that lasts until the test's end, or until what it answers is called. */
    const begin = async (effect: Effect.Effect<void, never, Scope.Scope>): Promise<() => Promise<void>> => {
      const own = await run(Scope.fork(scope))
      await run(Scope.provide(effect, own))
      return () => run(Scope.close(own, Exit.void))
    }
    const replicas = (count: number) => Promise.all(Array.from({ length: count }, () => shared.replica()))

    beforeEach(async () => {
      scope = Scope.makeUnsafe()
      shared = await broker()
    })
    afterEach(async () => {
      await run(Scope.close(scope, Exit.void))
      await shared.close()
    })

    describe("subjects", () => {
      const listen = async ({ bus }: Replica, subject: string) => {
        const heard: Array<string> = []
        const stop = await begin(bus.subscribe(subject, (on, data) => void heard.push(`${on} ${text(data)}`)))
        return { heard, stop }
      }
      /** Until what was begun on one replica is known at the broker. */
      const known = async (from: Replica, to: Replica) => {
        const { heard, stop } = await listen(to, "known")
        await soon(() => {
          from.bus.publish("known", bytes(""))
          expect(heard).not.toEqual([])
        })
        await stop()
      }

      it("bring what is published to all who listen, in order, the sender among them", async () => {
        const [a, b] = await replicas(2)
        const heard = [(await listen(a!, "load.a")).heard, (await listen(b!, "load.a")).heard]
        await known(a!, b!)
        const sent = Array.from({ length: 100 }, (_, at) => `load.a ${at}`)
        for (let at = 0; at < 100; at++) expect(a!.bus.publish("load.a", bytes(String(at)))).toBe(true)
        for (const one of heard) await soon(() => expect(one).toEqual(sent))
      })

      it("are listened to by * for one word and > for any rest", async () => {
        const [a] = await replicas(1)
        const one = await listen(a!, "load.*")
        const middle = await listen(a!, "load.*.x")
        const rest = await listen(a!, "load.>")
        for (const subject of ["load.a", "load.a.x", "load.a.y", "loads.a", "load"]) a!.bus.publish(subject, bytes("1"))
        await soon(() => expect(rest.heard).toEqual(["load.a 1", "load.a.x 1", "load.a.y 1"]))
        expect(one.heard).toEqual(["load.a 1"])
        expect(middle.heard).toEqual(["load.a.x 1"])
      })

      it("bring bytes in a buffer of their own, as does the log", async () => {
        const [a] = await replicas(1)
        const heard: Array<Uint8Array> = []
        await begin(a!.bus.subscribe("x", (_, data) => void heard.push(data)))
        await begin(a!.bus.follow(0, { entry: ({ data }) => void heard.push(data), lost: () => {} }))
        const sent = new Uint8Array(Int32Array.of(1, 2, 3).buffer)
        await soon(() => {
          a!.bus.publish("x", sent)
          expect(heard).not.toEqual([])
        })
        heard.length = 0
        a!.bus.append("kv.x", sent, "1")
        await soon(() => expect(heard).not.toEqual([]))
        a!.bus.publish("x", sent)
        await soon(() => expect(heard.length).toBeGreaterThan(1))
        for (const data of heard) expect([...new Int32Array(data.buffer)]).toEqual([1, 2, 3])
      })

      it("bring nothing more to who stopped listening", async () => {
        const [a] = await replicas(1)
        const first = await listen(a!, "x")
        const second = await listen(a!, "x")
        await first.stop()
        a!.bus.publish("x", bytes("1"))
        await soon(() => expect(second.heard).toEqual(["x 1"]))
        expect(first.heard).toEqual([])
      })

      it("bring each listener bytes of its own", async () => {
        const [a] = await replicas(1)
        const heard: Array<string> = []
        for (let at = 0; at < 2; at++)
          await begin(
            a!.bus.subscribe("x", (_, data) => {
              heard.push(text(data))
              data.fill(0)
            })
          )
        a!.bus.publish("x", bytes("kept"))
        await soon(() => expect(heard).toEqual(["kept", "kept"]))
      })

      it("take nothing from who is cut off, and are listened to again afterwards", async () => {
        const [a, b] = await replicas(2)
        const { heard } = await listen(a!, "x")
        await a!.cut(true)
        expect(a!.bus.publish("x", bytes("lost"))).toBe(false)
        b!.bus.publish("x", bytes("missed"))
        await a!.cut(false)
        expect(a!.bus.publish("x", bytes("own"))).toBe(true)
        await soon(() => expect(heard).toEqual(["x own"]))
        await known(b!, a!)
        b!.bus.publish("x", bytes("other's"))
        await soon(() => expect(heard).toEqual(["x own", "x other's"]))
      })

      it("take messages up to the largest size, and no larger", async () => {
        const [a] = await replicas(1)
        const sizes: Array<number> = []
        await begin(a!.bus.subscribe("x", (_, data) => void sizes.push(data.length)))
        const most = a!.bus.bytesMax()
        expect(a!.bus.publish("x", new Uint8Array(most + 1))).toBe(false)
        expect(a!.bus.publish("x", new Uint8Array(most))).toBe(true)
        await soon(() => expect(sizes).toEqual([most]))
      })

      it("of the log are not for publishing", async () => {
        const [a] = await replicas(1)
        expect(a!.bus.publish("kv.m.w", bytes("1"))).toBe(false)
      })
    })

    describe("questions", () => {
      const ask = async ({ bus }: Replica, subject: string, data = "", silenceMs = 5_000) => {
        const answers: Array<string> = []
        const how = await outcome(bus.ask(subject, bytes(data), (answer) => void answers.push(text(answer)), silenceMs))
        return { answers, how }
      }
      const serve = (
        { bus }: Replica,
        subject: string,
        answer: (data: string, send: (answer: string) => void) => Effect.Effect<void, { readonly message: string }>
      ) => begin(bus.serve(subject, (data, send) => answer(text(data), (one) => send(bytes(one)))))
      /** Once the broker knows who serves. */
      const served = (from: Replica, subject: string) =>
        soon(async () => expect((await ask(from, subject, "known?")).how).not.toBe("nobody"))

      it("are answered by any number of messages, in order", async () => {
        const [a, b] = await replicas(2)
        await serve(b!, "count", (to, send) =>
          Effect.gen(function* () {
            for (let at = 0; at < Number(to); at++) {
              if (at % 100 === 0) yield* Effect.yieldNow
              send(String(at))
            }
          })
        )
        await served(a!, "count")
        const all = Array.from({ length: 1_000 }, (_, at) => String(at))
        expect(await ask(a!, "count", "1000")).toEqual({ answers: all, how: "done" })
        expect(await ask(a!, "count", "0")).toEqual({ answers: [], how: "done" })
        expect(await ask(b!, "count", "1")).toEqual({ answers: ["0"], how: "done" })
      })

      it("that nobody serves fail at once", async () => {
        const [a, b] = await replicas(2)
        expect((await ask(a!, "x", "", 60_000)).how).toBe("nobody")
        const stop = await serve(b!, "x", () => Effect.void)
        await served(a!, "x")
        await stop()
        await soon(async () => expect((await ask(a!, "x", "", 60_000)).how).toBe("nobody"))
      })

      it("are late when no answer comes, not while answers keep coming", async () => {
        const [a, b] = await replicas(2)
        await serve(b!, "slow", (data, send) =>
          data === "known?"
            ? Effect.void
            : Effect.gen(function* () {
                for (let at = 0; at < 6; at++) {
                  yield* Effect.sleep(50)
                  send(String(at))
                }
                yield* data === "ends" ? Effect.void : Effect.never
              })
        )
        await served(a!, "slow")
        expect(await ask(a!, "slow", "ends", 200)).toEqual({ answers: ["0", "1", "2", "3", "4", "5"], how: "done" })
        expect(await ask(a!, "slow", "hangs", 200)).toEqual({ answers: ["0", "1", "2", "3", "4", "5"], how: "late" })
      })

      it("are refused with the reason of who would not, after what was answered before", async () => {
        const [a, b] = await replicas(2)
        await serve(b!, "x", (data, send) => {
          if (data === "known?") return Effect.void
          send("first")
          return data === "dies" ? Effect.die(new Error("broken")) : Effect.fail({ message: "not ready:\nä" })
        })
        await served(a!, "x")
        expect(await ask(a!, "x", "fails")).toEqual({ answers: ["first"], how: "refused: not ready:\nä" })
        expect(await ask(a!, "x", "dies")).toEqual({ answers: ["first"], how: "refused: broken" })
      })

      it("are refused when who answers stops serving meanwhile", async () => {
        const [a, b] = await replicas(2)
        const stop = await serve(b!, "x", (data, send) => {
          if (data === "known?") return Effect.void
          send("begun")
          return Effect.never
        })
        await served(a!, "x")
        const answers: Array<string> = []
        const asked = outcome(a!.bus.ask("x", bytes(""), (answer) => void answers.push(text(answer)), 10_000))
        await soon(() => expect(answers).toEqual(["begun"]))
        await stop()
        expect(await asked).toBe("refused: it stopped serving")
      })

      it("are spread over those who serve", async () => {
        const [a, ...others] = await replicas(4)
        const counts = [0, 0, 0]
        for (const [at, other] of others.entries())
          await serve(other, "x", (data) => Effect.sync(() => void (data === "" && counts[at]!++)))
        await served(a!, "x")
        // Each is known once it has answered.
        await soon(async () => {
          await ask(a!, "x")
          expect(Math.min(...counts)).toBeGreaterThan(0)
        })
        counts.fill(0)
        for (let at = 0; at < 150; at++) await ask(a!, "x")
        expect(counts.reduce((sum, count) => sum + count)).toBe(150)
        expect(Math.min(...counts)).toBeGreaterThan(15)
      })

      it("and answers go up to the largest size; what is larger is refused", async () => {
        const [a, b] = await replicas(2)
        const most = a!.bus.bytesMax()
        await begin(
          b!.bus.serve("x", (data, send) => Effect.sync(() => data.length > 0 && send(new Uint8Array(data.length + 1))))
        )
        await served(a!, "x")
        const sizes: Array<number> = []
        const askBytes = (size: number) =>
          outcome(a!.bus.ask("x", new Uint8Array(size), (answer) => void sizes.push(answer.length), 5_000))
        expect(await askBytes(most - 1)).toBe("done")
        expect(await askBytes(most)).toMatch(/^refused: .*bytes/)
        expect(await askBytes(most + 1)).toMatch(/^refused: .*bytes/)
        expect(sizes).toEqual([most])
      })

      it("fail as away: at once when cut off, and when cut off while waiting", async () => {
        const [a, b] = await replicas(2)
        await serve(b!, "x", (data) => (data === "known?" ? Effect.void : Effect.never))
        await served(a!, "x")
        const waiting = ask(a!, "x", "", 60_000)
        await settle()
        await a!.cut(true)
        expect((await waiting).how).toBe("away")
        expect((await ask(a!, "x", "", 60_000)).how).toBe("away")
      })

      it("are served again after an outage", async () => {
        const [a, b] = await replicas(2)
        await serve(b!, "x", (_, send) => Effect.sync(() => send("here")))
        await b!.cut(true)
        await soon(async () => expect((await ask(a!, "x", "", 100)).how).toMatch(/nobody|late/))
        await b!.cut(false)
        await soon(async () => expect(await ask(a!, "x", "", 1_000)).toEqual({ answers: ["here"], how: "done" }))
      })
    })

    describe("the log", () => {
      const append = ({ bus }: Replica, data: string, id = data, subject = "kv.m.w0") =>
        new Promise<number | string>((resolve) =>
          bus.append(subject, bytes(data), id, (result) =>
            resolve("position" in result ? result.position : result.reason)
          )
        )
      const appendAll = (replica: Replica, first: number, last: number) =>
        Promise.all(Array.from({ length: last - first + 1 }, (_, at) => append(replica, String(first + at))))
      const follow = async ({ bus }: Replica, after: number) => {
        const heard: Array<string> = []
        const entries: Array<LogEntry> = []
        const stop = await begin(
          bus.follow(after, {
            entry: (entry) => {
              entries.push(entry)
              heard.push(text(entry.data))
            },
            lost: () => void heard.push("lost")
          })
        )
        return { heard, entries, stop }
      }
      const numbers = (first: number, last: number) =>
        Array.from({ length: last - first + 1 }, (_, at) => String(first + at))

      it("takes entries in the order of the calls and gives them to followers in that order", async () => {
        const [a, b] = await replicas(2)
        const { entries, heard } = await follow(b!, 0)
        expect(await appendAll(a!, 1, 500)).toEqual(Array.from({ length: 500 }, (_, at) => at + 1))
        await soon(() => expect(heard).toEqual(numbers(1, 500)))
        expect(entries[9]).toMatchObject({ position: 10, subject: "kv.m.w0" })
        expect(await run(b!.bus.position)).toBe(500)
      })

      it("begins at position 0", async () => {
        const [a] = await replicas(1)
        expect(await run(a!.bus.position)).toBe(0)
      })

      it("takes an entry of a known id once, whoever appends it", async () => {
        const [a, b] = await replicas(2)
        expect(await append(a!, "first", "id")).toBe(1)
        expect(await append(b!, "again", "id")).toBe(1)
        expect(await append(b!, "other", "id 2/ä")).toBe(2)
        const { heard } = await follow(a!, 0)
        await soon(() => expect(heard).toEqual(["first", "other"]))
      })

      it("is followed from a place on", async () => {
        const [a] = await replicas(1)
        await appendAll(a!, 1, 10)
        const { heard } = await follow(a!, 7)
        await soon(() => expect(heard).toEqual(["8", "9", "10"]))
        await append(a!, "11")
        await soon(() => expect(heard).toEqual(["8", "9", "10", "11"]))
      })

      it("is not heard by who stopped following", async () => {
        const [a] = await replicas(1)
        const first = await follow(a!, 0)
        const second = await follow(a!, 0)
        await append(a!, "1")
        await soon(() => expect([first.heard, second.heard]).toEqual([["1"], ["1"]]))
        await first.stop()
        await append(a!, "2")
        await soon(() => expect(second.heard).toEqual(["1", "2"]))
        expect(first.heard).toEqual(["1"])
      })

      it("is followed across an outage: nothing missed, nothing twice", async () => {
        const [a, b] = await replicas(2)
        const { heard } = await follow(b!, 0)
        await appendAll(a!, 1, 5)
        await soon(() => expect(heard).toEqual(numbers(1, 5)))
        await b!.cut(true)
        await appendAll(a!, 6, 10)
        await settle()
        expect(heard).toEqual(numbers(1, 5))
        await b!.cut(false)
        await appendAll(a!, 11, 12)
        await soon(() => expect(heard).toEqual(numbers(1, 12)))
      })

      it("says that entries are lost when they went before they were heard", async () => {
        const [a, b] = await replicas(2)
        const { heard } = await follow(b!, 0)
        await appendAll(a!, 1, 5)
        await soon(() => expect(heard).toEqual(numbers(1, 5)))
        await b!.cut(true)
        await appendAll(a!, 6, 10)
        await shared.truncate(2)
        await b!.cut(false)
        await soon(() => expect(heard).toEqual([...numbers(1, 5), "lost", "9", "10"]))
      })

      it("loses nothing for a follower who heard all that went", async () => {
        const [a, b] = await replicas(2)
        const { heard } = await follow(b!, 0)
        await appendAll(a!, 1, 5)
        await soon(() => expect(heard).toEqual(numbers(1, 5)))
        await b!.cut(true)
        await shared.truncate(0)
        await b!.cut(false)
        expect(await append(a!, "6")).toBe(6)
        await soon(() => expect(heard).toEqual(numbers(1, 6)))
      })

      it("says what is lost to who begins behind its first entry, not to who takes all that is kept", async () => {
        const [a] = await replicas(1)
        await appendAll(a!, 1, 10)
        await shared.truncate(3)
        const kept = await follow(a!, 0)
        const next = await follow(a!, 7)
        const gone = await follow(a!, 5)
        await soon(() => {
          expect(kept.heard).toEqual(["8", "9", "10"])
          expect(next.heard).toEqual(["8", "9", "10"])
          expect(gone.heard).toEqual(["lost", "8", "9", "10"])
        })
      })

      it("begins anew after the broker lost everything, and says so", async () => {
        const [a, b] = await replicas(2)
        const { heard } = await follow(b!, 0)
        await appendAll(a!, 1, 5)
        await soon(() => expect(heard).toEqual(numbers(1, 5)))
        await shared.wipe()
        await soon(() => expect(heard).toEqual([...numbers(1, 5), "lost"]))
        await soon(async () => expect(await append(a!, "anew")).toBe(1))
        await soon(() => expect(heard).toEqual([...numbers(1, 5), "lost", "anew"]))
      })

      it("has begun anew for who was away, however many entries it has by then", async () => {
        const [a, b] = await replicas(2)
        const { heard } = await follow(b!, 0)
        await appendAll(a!, 1, 3)
        await soon(() => expect(heard).toEqual(numbers(1, 3)))
        await b!.cut(true)
        await shared.wipe()
        await soon(async () => expect(await append(a!, "101")).toBe(1))
        await appendAll(a!, 102, 105)
        await b!.cut(false)
        await soon(() => expect(heard).toEqual([...numbers(1, 3), "lost", ...numbers(101, 105)]))
      })

      it("has begun anew for who follows from a place it has not reached", async () => {
        const [a] = await replicas(1)
        await appendAll(a!, 1, 2)
        const { heard } = await follow(a!, 50)
        await soon(() => expect(heard).toEqual(["lost", "1", "2"]))
      })

      it("takes nothing from who is cut off, and says so at once", async () => {
        const [a] = await replicas(1)
        await a!.cut(true)
        expect(await append(a!, "1")).toBe("away")
        expect(await outcome(a!.bus.position)).toBe("away")
        await a!.cut(false)
        expect(await append(a!, "2")).toBe(1)
      })

      it("refuses what is no subject of its own, and what is too large", async () => {
        const [a] = await replicas(1)
        expect(await append(a!, "1", "1", "load.a")).toBe("refused")
        expect(await append(a!, "x".repeat(a!.bus.bytesMax() + 1), "2")).toBe("refused")
        const most = "x".repeat(a!.bus.bytesMax())
        expect(await append(a!, most, "3")).toBe(1)
        const { heard } = await follow(a!, 0)
        await soon(() => expect(heard.map(({ length }) => length)).toEqual([most.length]))
      })
    })

    describe("tables", () => {
      const show = (rows: ReadonlyArray<Row>) =>
        rows.map(({ key, value }) => `${key}=${text(value)}`).sort((one, other) => (one < other ? -1 : 1))
      const watch = async ({ bus }: Replica, table: TableName) => {
        const heard: Array<string> = []
        const stop = await begin(
          bus.table(table).watch({
            all: (rows) => void heard.push(`all ${show(rows).join(" ")}`),
            changed: (row) => void heard.push(show([row])[0]!),
            removed: (key) => void heard.push(`-${key}`)
          })
        )
        return { heard, stop }
      }

      it("keep what was put last of each row, with growing revisions", async () => {
        const [a, b] = await replicas(2)
        const table = a!.bus.table("members")
        const revisions = [
          await run(table.put("a.x", bytes("1"))),
          await run(table.put("b", bytes("1"))),
          await run(table.put("a.x", bytes("2")))
        ]
        expect([...revisions].sort((one, other) => one - other)).toEqual(revisions)
        expect(new Set(revisions).size).toBe(3)
        const rows = await run(b!.bus.table("members").all)
        expect(show(rows)).toEqual(["a.x=2", "b=1"])
        expect(rows.find(({ key }) => key === "a.x")?.revision).toBe(revisions[2])
        expect(show(await run(b!.bus.table("leases").all))).toEqual([])
      })

      it("replace a row only where it is as it was known", async () => {
        const [a, b] = await replicas(2)
        const table = a!.bus.table("leases")
        const other = b!.bus.table("leases")
        const first = await run(table.replace("w", bytes("a"), 0))
        expect(first).toBeGreaterThan(0)
        expect(await run(other.replace("w", bytes("b"), 0))).toBe(null)
        const second = await run(other.replace("w", bytes("b"), first!))
        expect(second).toBeGreaterThan(first!)
        expect(await run(table.replace("w", bytes("c"), first!))).toBe(null)
        expect(show(await run(table.all))).toEqual(["w=b"])
      })

      it("let one of many win a row", async () => {
        const all = await replicas(4)
        const won = await Promise.all(
          all.map(({ bus }, at) => run(bus.table("leases").replace("w", bytes(String(at)), 0)))
        )
        expect(won.filter((revision) => revision !== null).length).toBe(1)
        const winner = won.findIndex((revision) => revision !== null)
        expect(show(await run(all[0]!.bus.table("leases").all))).toEqual([`w=${winner}`])
      })

      it("remove a row, where asked only at a revision, and let it be made again", async () => {
        const [a] = await replicas(1)
        const table = a!.bus.table("fleet")
        expect(await run(table.remove("w"))).toBe(false)
        const first = await run(table.put("w", bytes("1")))
        const second = await run(table.put("w", bytes("2")))
        expect(await run(table.remove("w", first))).toBe(false)
        expect(await run(table.remove("w", second))).toBe(true)
        expect(await run(table.remove("w", second))).toBe(false)
        expect(await run(table.all)).toEqual([])
        expect(await run(table.replace("w", bytes("3"), second))).toBe(null)
        expect(await run(table.replace("w", bytes("3"), 0))).toBeGreaterThan(second)
        expect(await run(table.remove("w"))).toBe(true)
        expect(await run(table.all)).toEqual([])
      })

      it("are watched: all rows first, then each change, own ones among them", async () => {
        const [a, b] = await replicas(2)
        await run(a!.bus.table("members").put("a", bytes("1")))
        await run(a!.bus.table("members").put("gone", bytes("1")))
        await run(a!.bus.table("members").remove("gone"))
        const { heard, stop } = await watch(b!, "members")
        await soon(() => expect(heard).toEqual(["all a=1"]))
        await run(a!.bus.table("members").put("a", bytes("2")))
        await run(b!.bus.table("members").put("b", bytes("1")))
        await run(a!.bus.table("members").remove("a"))
        await run(a!.bus.table("leases").put("c", bytes("1")))
        await soon(() => expect(heard).toEqual(["all a=1", "a=2", "b=1", "-a"]))
        await stop()
        await run(a!.bus.table("members").put("d", bytes("1")))
        await settle()
        expect(heard.length).toBe(4)
      })

      it("are told whole to who begins to watch while others write them", async () => {
        const [a, b] = await replicas(2)
        const table = a!.bus.table("members")
        const keys = Array.from({ length: 40 }, (_, at) => `r${at}`)
        const write = (what: string) => Promise.all(keys.map((key) => run(table.put(key, bytes(what)))))
        await write("0")
        const watched: Array<ReadonlyArray<string>> = []
        for (let round = 0; round < 5; round++) {
          const writing = Promise.all([write("1"), write("2")])
          for (let i = 0; i < 3; i++) watched.push((await watch(b!, "members")).heard)
          await writing
        }
        await write("last")
        await soon(() => {
          for (const heard of watched) {
            const first = heard.findLastIndex((line) => line.startsWith("all "))
            expect(heard[first]!.split(" ")).toHaveLength(1 + keys.length)
            const rows = heard.slice(first).flatMap((line) => line.split(" "))
            expect(rows).toEqual(expect.arrayContaining(keys.map((key) => `${key}=last`)))
          }
        })
      })

      it("without rows are told as such to who watches", async () => {
        const [a] = await replicas(1)
        const empty = await watch(a!, "fleet")
        await soon(() => expect(empty.heard).toEqual(["all "]))
        await run(a!.bus.table("fleet").put("w", bytes("1")))
        await run(a!.bus.table("fleet").remove("w"))
        await soon(() => expect(empty.heard).toEqual(["all ", "w=1", "-w"]))
        const emptied = await watch(a!, "fleet")
        await soon(() => expect(emptied.heard).toEqual(["all "]))
      })

      it("tell all rows again after an outage", async () => {
        const [a, b] = await replicas(2)
        const table = b!.bus.table("members")
        for (const key of ["a", "b"]) await run(table.put(key, bytes("1")))
        const { heard } = await watch(a!, "members")
        await soon(() => expect(heard).toEqual(["all a=1 b=1"]))
        await a!.cut(true)
        await run(table.remove("a"))
        await run(table.put("c", bytes("1")))
        await a!.cut(false)
        await soon(() => expect(heard).toEqual(["all a=1 b=1", "all b=1 c=1"]))
        await run(table.put("c", bytes("2")))
        await soon(() => expect(heard.at(-1)).toBe("c=2"))
      })

      it("are told as empty after the broker lost everything, and work again", async () => {
        const [a] = await replicas(1)
        const table = a!.bus.table("members")
        await run(table.put("a", bytes("1")))
        const { heard } = await watch(a!, "members")
        await soon(() => expect(heard).toEqual(["all a=1"]))
        await shared.wipe()
        await soon(() => expect(heard).toEqual(["all a=1", "all "]))
        await soon(async () => expect(await outcome(table.put("b", bytes("1")))).toBe("done"))
        await soon(() => expect(heard).toEqual(["all a=1", "all ", "b=1"]))
      })

      it("fail as away at once for who is cut off", async () => {
        const [a] = await replicas(1)
        await a!.cut(true)
        const table = a!.bus.table("leases")
        const tried = [table.all, table.put("a", bytes("1")), table.replace("a", bytes("1"), 0), table.remove("a")]
        expect(await Promise.all(tried.map((one: Effect.Effect<unknown, BusError>) => outcome(one)))).toEqual(
          tried.map(() => "away")
        )
      })
    })

    it("says whether it is connected, and why not", async () => {
      const [a] = await replicas(1)
      expect(a!.bus.status()).toMatchObject({ connected: true, why: "" })
      expect(a!.bus.status().server).not.toBe(null)
      const changes: Array<boolean> = []
      const stop = a!.bus.onStatus(({ connected }) => void changes.push(connected))
      await a!.cut(true)
      expect(a!.bus.status().connected).toBe(false)
      expect(a!.bus.status().why).not.toBe("")
      await a!.cut(false)
      await soon(() => expect(a!.bus.status()).toMatchObject({ connected: true, why: "" }))
      stop()
      await a!.cut(true)
      expect([changes[0], changes.at(-1)]).toEqual([false, true])
    })
  })
}

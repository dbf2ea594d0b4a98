/**
 * EventBus: carries cache changes from the one collector that reads a worker to every index that follows.
 *
 * In-process twin: `layerMemory`. A subscriber is called on the publisher's turn, in order, and must not block: it
 * queues. One process needs no other bus.
 */
import { Context, Effect, Layer, type Scope } from "effect"
import type { KvDelta } from "../domain/KvEvent.ts"

export class EventBus extends Context.Service<
  EventBus,
  {
    /** Hands a change to every subscriber, in the order published. False when one of them had no room. */
    readonly publish: (delta: KvDelta) => boolean
    /** Calls `take` for every change published from now on; false from `take` means it had no room. Ends with the scope. */
    readonly subscribe: (take: (delta: KvDelta) => boolean) => Effect.Effect<void, never, Scope.Scope>
  }
>()("warmpath/ports/EventBus") {
  static readonly layerMemory = Layer.sync(this, () => {
    const subscribers = new Set<(delta: KvDelta) => boolean>()
    return EventBus.of({
      publish: (delta) => {
        let room = true
        for (const take of subscribers) room = take(delta) && room
        return room
      },
      subscribe: (take) =>
        Effect.acquireRelease(
          Effect.sync(() => void subscribers.add(take)),
          () => Effect.sync(() => void subscribers.delete(take))
        )
    })
  })
}

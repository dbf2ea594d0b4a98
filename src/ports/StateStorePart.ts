/** StateStorePart: one deployment's part of a store that several share: its names, and what is held under them. */
import { Effect } from "effect"
import type { Interface } from "./StateStore.ts"

/** Names of others are neither seen nor touched. Records are shared where keys are equal. */
export const make = (store: Interface, deployment: string): Interface => {
  const prefix = `${deployment}/`
  const isOwn = ({ name }: { readonly name: string }): boolean => name.startsWith(prefix)
  const own = <A extends { readonly name: string }>(all: ReadonlyArray<A>): ReadonlyArray<A> =>
    all.filter(isOwn).map((one) => ({ ...one, name: one.name.slice(prefix.length) }))
  return {
    ...store,
    enter: (name) => store.enter(prefix + name),
    settle: (name, tenure) => store.settle(prefix + name, tenure),
    leave: (name, tenure) => store.leave(prefix + name, tenure),
    lookup: (keys, count, stride) => Effect.map(store.lookup(keys, count, stride), own),
    read: (take) =>
      store.read((chunk) =>
        take(
          chunk.flatMap((stretch) => {
            const holders = own(stretch.holders)
            return holders.length === 0 ? [] : [{ ...stretch, holders }]
          })
        )
      ),
    names: Effect.map(store.names, own)
  }
}

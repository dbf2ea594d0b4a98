/** Failure: why a memory node did not do what it was asked, as errors of the port. */
import { StoreError, type StoreUnusable } from "../../ports/StateStore.ts"

/** A call that did not succeed: reason and words of a `StoreError`. */
export class Failed extends Error {
  readonly reason: StoreError["reason"]

  constructor(reason: StoreError["reason"], detail: string) {
    super(detail)
    this.reason = reason
  }
}

/** What waiting does not heal. */
export type Unusable = Pick<StoreUnusable, "code" | "why" | "fix">

export const storeError = (what: string, error: unknown): StoreError =>
  new StoreError({
    what,
    reason: error instanceof Failed ? error.reason : "away",
    detail: error instanceof Error ? error.message : String(error)
  })

/** For what the addon does not say itself. */
const fixes: Readonly<Record<string, string>> = {
  ERR_RDMA_LIBRARY: "Or name its file or folder: ?library= in the store's address, --library of the memory node.",
  ERR_RDMA_PROVIDER:
    "Name one that there is, the same on both sides (?provider= in the store's address, --provider of the memory node), or install what it needs.",
  ERR_RDMA_BACKING: "Give --backing a file of its own, in a folder that is there and has room for it.",
  ERR_RDMA_MEMORY: "Or let it take less: --size of the memory node.",
  ERR_RDMA_ADDON: "Or use another store: sqlite, redis://."
}

/** What the addon or the library said when it could not be opened; null for what may pass. */
export const unusableOf = (error: unknown): Unusable | null => {
  if (!(error instanceof Error)) return null
  const { code } = error as { readonly code?: string }
  const fix = code === undefined ? undefined : fixes[code]
  if (code === undefined || fix === undefined) return null
  // Its first sentence says what is wrong, others what to do.
  const [why = "", ...more] = error.message.split(/(?<=\.) (?=[A-Z])/)
  return { code, why: why.replace(/\.$/, ""), fix: [...more, fix].join(" ") }
}

/** Where on the page one is: `#/receipts/ID` and `#/workers/ID` open a panel, and can be shared. */
import { signal } from "@preact/signals"

export interface Place {
  readonly kind: "fleet" | "receipts" | "workers"
  readonly id: string
}

const read = (): Place => {
  const [, kind, ...rest] = location.hash.split("/")
  if (kind !== "receipts" && kind !== "workers") return { kind: "fleet", id: "" }
  try {
    return { kind, id: decodeURIComponent(rest.join("/")) }
  } catch {
    return { kind, id: rest.join("/") }
  }
}

export const place = signal(read())
window.addEventListener("hashchange", () => {
  place.value = read()
})

export const linkTo = (kind: "receipts" | "workers", id: string): string => `#/${kind}/${encodeURIComponent(id)}`
export const go = (hash: string): void => {
  location.hash = hash
}

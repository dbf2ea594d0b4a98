/** Keys: what each does to the view. Pure. */
import type { View } from "./Frame.ts"
import * as Seen from "./Seen.ts"

/** As Node's readline tells of a key. */
export interface Key {
  readonly name?: string | undefined
  readonly ctrl?: boolean | undefined
}

/** The view after a key, or null to leave. `page`: rows on the screen. A view beyond the end is put right when drawn. */
export const press = (view: View, { ctrl, name }: Key, page: number): View | null => {
  if (ctrl === true) return name === "c" || name === "d" ? null : view
  const to = (above: number): View => ({ ...view, above: Math.max(0, above) })
  switch (name) {
    case "q":
      return null
    case "s":
      return {
        ...view,
        above: 0,
        order: Seen.orderNames[(Seen.orderNames.indexOf(view.order) + 1) % Seen.orderNames.length]!
      }
    case "p":
      return { ...view, isPaused: !view.isPaused }
    case "up":
      return to(view.above - 1)
    case "down":
      return to(view.above + 1)
    case "pageup":
      return to(view.above - page)
    case "pagedown":
    case "space":
      return to(view.above + page)
    case "home":
      return to(0)
    case "end":
      return to(Number.MAX_SAFE_INTEGER)
    default:
      return view
  }
}

/** A table of any length in a box of its own: only the rows in sight are made, so that a thousand are as light as ten. */
import type { ComponentChildren } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"

export interface Props<A> {
  readonly label: string
  readonly items: ReadonlyArray<A>
  readonly keyOf: (item: A) => string
  readonly head: ComponentChildren
  readonly row: (item: A) => ComponentChildren
  /** Pixels: all rows are as high. */
  readonly rowHeight: number
}

/** Rows made beyond what is in sight, so that scrolling and tabbing find them there. */
const beyond = 6

export const Rows = <A,>({ head, items, keyOf, label, row, rowHeight }: Props<A>) => {
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  useEffect(() => {
    const resized = new ResizeObserver(() => setHeight(box.current!.clientHeight))
    resized.observe(box.current!)
    return () => resized.disconnect()
  }, [])
  const from = Math.max(0, Math.min(Math.floor(top / rowHeight) - beyond, items.length - 1))
  const to = Math.min(items.length, Math.ceil((top + height) / rowHeight) + beyond)

  /** Arrows go from row to row, wherever in a row one is. */
  const onKeyDown = (event: KeyboardEvent): void => {
    const now = (event.target as HTMLElement).closest<HTMLElement>("tr[data-index]")
    if (now === null) return
    const at = Number(now.dataset["index"])
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key]
    if (to === undefined || to < 0 || to >= items.length) return
    event.preventDefault()
    const { current } = box
    const [above, below] = [to * rowHeight, (to + 2) * rowHeight]
    if (above < current!.scrollTop) current!.scrollTop = above
    else if (below > current!.scrollTop + current!.clientHeight) current!.scrollTop = below - current!.clientHeight
    setTop(current!.scrollTop)
    // Once it is made.
    requestAnimationFrame(() => current!.querySelector<HTMLElement>(`tr[data-index="${to}"] a`)?.focus())
  }

  return (
    <div class="rows" ref={box} onScroll={() => setTop(box.current!.scrollTop)}>
      <div style={{ height: `${from * rowHeight}px` }} />
      <table aria-label={label} aria-rowcount={items.length + 1} onKeyDown={onKeyDown}>
        <thead>{head}</thead>
        <tbody>
          {items.slice(from, to).map((item, i) => (
            <tr
              key={keyOf(item)}
              data-index={from + i}
              aria-rowindex={from + i + 2}
              style={{ height: `${rowHeight}px` }}
            >
              {row(item)}
            </tr>
          ))}
        </tbody>
      </table>
      <div style={{ height: `${(items.length - to) * rowHeight}px` }} />
    </div>
  )
}

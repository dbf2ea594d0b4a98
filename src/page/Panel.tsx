/** What one looks at closely, beside the rest: a receipt, or a worker. Escape closes it, and gives the focus back. */
import type { ComponentChildren } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { go, place } from "./Place.ts"
import { Why } from "./Why.tsx"
import { WorkerView } from "./WorkerView.tsx"

/** What the admin API answers, asked again each `everyMs`, if given, while it is shown. */
export const useJson = <A,>(
  path: string,
  everyMs: number | null
): { readonly json: A | null; readonly fault: string | null } => {
  const [state, setState] = useState<{ path: string; json: A | null; fault: string | null }>({
    path,
    json: null,
    fault: null
  })
  useEffect(() => {
    let isOver = false
    const ask = async (): Promise<void> => {
      const answer = await fetch(path).catch(() => null)
      const body = await answer?.json().catch(() => null)
      if (isOver) return
      if (answer?.ok === true && body !== null) setState({ path, json: body, fault: null })
      else {
        const error = body?.error
        setState({ path, json: null, fault: error ? `${error.message} ${error.fix}` : "The router does not answer." })
      }
    }
    void ask()
    const timer = everyMs === null ? undefined : setInterval(ask, everyMs)
    return () => {
      isOver = true
      clearInterval(timer)
    }
  }, [path, everyMs])
  return state.path === path ? state : { json: null, fault: null }
}

const Frame = ({ children, label }: { label: string; children: ComponentChildren }) => {
  const frame = useRef<HTMLElement>(null)
  useEffect(() => {
    const before = document.activeElement
    frame.current!.focus({ preventScroll: true })
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") go("/")
    }
    document.addEventListener("keydown", onKey)
    return () => {
      document.removeEventListener("keydown", onKey)
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true })
      else document.getElementById("main")?.focus({ preventScroll: true })
    }
  }, [])
  return (
    <aside class="panel" ref={frame} tabIndex={-1} aria-label={label}>
      <button type="button" class="close" onClick={() => go("/")}>
        <span aria-hidden="true">✕</span> Close
      </button>
      {children}
    </aside>
  )
}

export const Panel = () => {
  const { id, kind } = place.value
  if (kind === "fleet" || id === "") return null
  return (
    <Frame label={kind === "receipts" ? "Why a request went where it went" : "A worker"}>
      {kind === "receipts" ? <Why key={id} id={id} /> : <WorkerView key={id} id={id} />}
    </Frame>
  )
}

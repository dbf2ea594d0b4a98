/** The hottest prefixes as a tree, and who holds each. Arrows, Home, End and Enter go through it. */
import { signal } from "@preact/signals"
import { useEffect, useRef } from "preact/hooks"
import type { PrefixNode, Prefixes as Told } from "../domain/Live.ts"
import { connection } from "./Live.ts"
import { count, layers, percent, plural, tokens } from "./Words.ts"

const everyMs = 5_000

const told = signal<Told | null>(null)
/** By key: those that somebody opened or closed. */
const opened = signal<ReadonlyMap<string, boolean>>(new Map())
const current = signal<string | null>(null)

/** Unless somebody said otherwise a node is open whose requests mostly go on together: a fan of many ways stays shut. */
const opensItself = ({ children, requests }: PrefixNode): boolean => (children[0]?.requests ?? 0) >= requests / 3

const ask = async (): Promise<void> => {
  if (document.hidden || connection.value !== "live") return
  const answer = await fetch("/admin/prefixes").catch(() => null)
  if (answer?.ok === true) told.value = (await answer.json()) as Told
}

interface Line {
  readonly node: PrefixNode
  readonly depth: number
  readonly parent: string | null
  readonly isOpen: boolean
  readonly place: number
  readonly of: number
}

/** The nodes in sight, from top to bottom. */
const linesOf = (nodes: ReadonlyArray<PrefixNode>, depth = 0, parent: string | null = null): ReadonlyArray<Line> =>
  nodes.flatMap((node, i) => {
    const isOpen = node.children.length > 0 && (opened.value.get(node.key) ?? opensItself(node))
    const line: Line = { node, depth, parent, isOpen, place: i + 1, of: nodes.length }
    return [line, ...(isOpen ? linesOf(node.children, depth + 1, node.key) : [])]
  })

const turn = (key: string, on: boolean): void => {
  opened.value = new Map(opened.value).set(key, on)
}

const Holders = ({ node }: { node: PrefixNode }) => {
  if (node.holders.length === 0) return <span class="quiet">held by nobody now</span>
  return (
    <>
      {node.holders.map(({ blocks, layer, worker }) => (
        <span key={worker} class={`holder ${blocks === node.blocks ? "whole" : ""}`}>
          {worker}{" "}
          <span class="quiet">
            {blocks === node.blocks ? "all" : `${count(blocks)} of ${count(node.blocks)}`}
            {layer > 0 && `, ${layers[layer]}`}
          </span>
        </span>
      ))}
      {node.moreHolders > 0 && <span class="quiet">and {count(node.moreHolders)} more</span>}
    </>
  )
}

const Item = ({ line, requests, several }: { line: Line; requests: number; several: boolean }) => {
  const { depth, isOpen, node, of, place } = line
  const item = useRef<HTMLDivElement>(null)
  const isCurrent = current.value === node.key
  useEffect(() => {
    // Only if the focus is in the tree: it must not be taken from elsewhere.
    if (isCurrent && document.activeElement?.closest('[role="tree"]')) item.current?.focus()
  }, [isCurrent])
  const leaf = node.children.length === 0
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree around it hears the keys
    <div
      ref={item}
      role="treeitem"
      aria-level={depth + 1}
      aria-setsize={of}
      aria-posinset={place}
      aria-expanded={leaf ? undefined : isOpen}
      aria-selected={isCurrent}
      tabIndex={isCurrent ? 0 : -1}
      data-key={node.key}
      style={{ "--depth": depth }}
      onClick={() => {
        current.value = node.key
        if (!leaf) turn(node.key, !isOpen)
      }}
    >
      <span class="twist" aria-hidden="true">
        {leaf ? "·" : isOpen ? "▾" : "▸"}
      </span>
      <span class="bar wide" aria-hidden="true">
        <span class="is-own" style={{ width: `${100 * node.share}%` }} />
      </span>
      <span class="what">
        <b>{tokens(node.tokens)}</b>, shared by {count(node.requests)} of {plural(requests, "request")}{" "}
        <span class="quiet">
          ({percent(node.share)}){several && ` ${node.model}`} <code>{node.key}</code>
          {!leaf && !isOpen && ` goes on in ${plural(node.children.length, "way")}`}
        </span>
      </span>
      <span class="holders">
        <span class="hidden">Held by </span>
        <Holders node={node} />
      </span>
    </div>
  )
}

const onKeyDown = (event: KeyboardEvent, lines: ReadonlyArray<Line>): void => {
  const at = lines.findIndex(({ node }) => node.key === current.value)
  const line = lines[at]
  if (line === undefined) return
  const { isOpen, node, parent } = line
  const to = (i: number): void => {
    current.value = lines[i]?.node.key ?? current.value
  }
  const leaf = node.children.length === 0
  const acts: Readonly<Record<string, () => void>> = {
    ArrowDown: () => to(at + 1),
    ArrowUp: () => to(at - 1),
    Home: () => to(0),
    End: () => to(lines.length - 1),
    ArrowRight: () => (leaf ? undefined : isOpen ? to(at + 1) : turn(node.key, true)),
    ArrowLeft: () => {
      if (isOpen) turn(node.key, false)
      else if (parent !== null) current.value = parent
    },
    Enter: () => (leaf ? undefined : turn(node.key, !isOpen)),
    " ": () => (leaf ? undefined : turn(node.key, !isOpen))
  }
  const act = acts[event.key]
  if (act === undefined) return
  event.preventDefault()
  act()
}

export const Prefixes = () => {
  useEffect(() => {
    void ask()
    const timer = setInterval(ask, everyMs)
    return () => clearInterval(timer)
  }, [connection.value])
  const found = told.value
  const lines = linesOf(found?.roots ?? [])
  // One of them can always be reached by Tab.
  if (lines.length > 0 && !lines.some(({ node }) => node.key === current.value)) current.value = lines[0]!.node.key
  const several = new Set(lines.map(({ node }) => node.model)).size > 1
  return (
    <section class="card" aria-labelledby="prefixes">
      <div class="title">
        <h2 id="prefixes">Hottest prefixes</h2>
        {found !== null && found.requests > 0 && (
          <p class="quiet small">
            of the last {plural(found.requests, "request")}; {count(found.alone)} begin like no other
          </p>
        )}
      </div>
      {lines.length === 0 ? (
        <div class="empty">
          <p>No two recent requests began alike.</p>
          <p>
            Prompts that share a system prompt, tools or a conversation will appear here, with the workers that hold
            them.
          </p>
        </div>
      ) : (
        <div role="tree" class="tree" aria-labelledby="prefixes" onKeyDown={(event) => onKeyDown(event, lines)}>
          {lines.map((line) => (
            <Item key={line.node.key} line={line} requests={found!.requests} several={several} />
          ))}
        </div>
      )}
    </section>
  )
}

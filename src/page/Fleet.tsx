/** The workers: a strip of all, and a table that can be sorted and searched. */
import { signal } from "@preact/signals"
import type { LiveWorker } from "../domain/Live.ts"
import { HeatStrip } from "./HeatStrip.tsx"
import { connection, workers } from "./Live.ts"
import { linkTo } from "./Place.ts"
import { Rows } from "./Rows.tsx"
import { Share, Sparkline, State, TrustWord } from "./Small.tsx"
import { count, duration } from "./Words.ts"

interface Column {
  readonly title: string
  readonly class: string
  /** Greater is shown first, when sorted by it; a string: by name. */
  readonly of: (worker: LiveWorker) => number | string
}

const last = ({ ttftsMs }: LiveWorker): number => ttftsMs.at(-1) ?? -1

/** Of its last requests: a single one says little. */
const middle = (values: ReadonlyArray<number>): number | null =>
  values.length === 0 ? null : [...values].sort((a, b) => a - b)[values.length >> 1]!

const fill = ({ blocks, blocksMax }: LiveWorker): number | null =>
  blocksMax === null || blocksMax === 0 ? null : Math.min(1, blocks / blocksMax)

const columns: ReadonlyArray<Column> = [
  { title: "Worker", class: "name", of: ({ id }) => id },
  { title: "State", class: "state", of: ({ state }) => (state === "ready" ? 0 : 1) },
  { title: "Trust", class: "trust", of: ({ credit }) => -(credit ?? 0) },
  { title: "Load", class: "load", of: ({ active, queued, waitMs }) => waitMs * 1_000 + queued + active },
  { title: "Cache", class: "cache", of: (worker) => fill(worker) ?? -1 },
  { title: "Hit rate", class: "hits", of: ({ hitRate }) => hitRate ?? -1 },
  { title: "TTFT", class: "ttft", of: last }
]

/** Above that the strip says more than the table. */
const stripFrom = 17

const names = new Intl.Collator("en", { numeric: true })
const sortedBy = signal("Worker")
const wanted = signal("")

const matches = ({ id, model, state, trust }: LiveWorker): boolean =>
  `${id} ${state} ${trust} ${model}`.toLowerCase().includes(wanted.value.toLowerCase())

const sorted = (all: ReadonlyArray<LiveWorker>): ReadonlyArray<LiveWorker> => {
  const { of } = columns.find(({ title }) => title === sortedBy.value)!
  return [...all].sort((a, b) => {
    const [left, right] = [of(a), of(b)]
    const more = typeof left === "number" && typeof right === "number" ? right - left : 0
    return more || names.compare(a.id, b.id)
  })
}

const Row = ({ worker }: { worker: LiveWorker }) => {
  const { active, credit, engine, id, queued, state, trust, ttftsMs, url, waitMs, why } = worker
  return (
    <>
      <th scope="row" class="name">
        <a href={linkTo("workers", id)} title={url}>
          {id}
        </a>
        <small class="quiet">{engine ?? "not yet known"}</small>
      </th>
      <td class="state" title={why}>
        <State state={state} />
      </td>
      <td class="trust">
        <TrustWord trust={trust} />
        {credit !== null && credit < 1 && <small class="quiet">{Math.round(100 * credit)} % counts</small>}
      </td>
      <td class="load">
        <span class="number both">
          <span>
            {count(queued)} <small class="quiet">queued</small>
          </span>{" "}
          <span>
            {count(active)} <small class="quiet">active</small>
          </span>
        </span>
        <small class="quiet wide-only">{waitMs > 0 ? `${duration(waitMs)} wait` : "no wait"}</small>
      </td>
      <td class="cache">
        <Share share={fill(worker)} tone="others" />
      </td>
      <td class="hits">
        <Share share={worker.hitRate} />
      </td>
      <td class="ttft">
        <span class="pair">
          <Sparkline values={ttftsMs} />
          <span class="number">{duration(middle(ttftsMs))}</span>
        </span>
      </td>
    </>
  )
}

const head = () => (
  <tr>
    {columns.map(({ class: name, title }) => (
      <th
        key={title}
        scope="col"
        class={name}
        aria-sort={sortedBy.value === title ? (title === "Worker" ? "ascending" : "descending") : "none"}
      >
        <button
          type="button"
          onClick={() => {
            sortedBy.value = title
          }}
        >
          {title}
          <span aria-hidden="true">{sortedBy.value === title ? " ↓" : ""}</span>
        </button>
      </th>
    ))}
  </tr>
)

export const Fleet = () => {
  const all = sorted([...workers.value.values()])
  const shown = all.filter(matches)
  return (
    <section class="card" aria-labelledby="fleet">
      <div class="title">
        <h2 id="fleet">Fleet</h2>
        <label class="filter">
          <span class="hidden">Find workers by name, state, trust or model</span>
          <input
            type="search"
            placeholder="Find workers"
            value={wanted.value}
            onInput={({ currentTarget }) => {
              wanted.value = currentTarget.value
            }}
          />
        </label>
      </div>
      {all.length >= stripFrom && <HeatStrip workers={[...workers.value.values()]} />}
      {all.length === 0 ? (
        <div class="empty">
          {connection.value === "live" ? (
            <>
              <p>No worker is listed.</p>
              <p>
                Start the router with <code>--worker http://host:port</code>, or add one now:{" "}
                <code>{`curl ${location.origin}/admin/workers -H 'content-type: application/json' -d '{"url":"http://10.0.0.4:8000"}'`}</code>
              </p>
            </>
          ) : (
            <p>Waiting for the router …</p>
          )}
        </div>
      ) : shown.length === 0 ? (
        <p class="empty">No worker matches “{wanted.value}”.</p>
      ) : (
        <Rows
          label="Workers"
          items={shown}
          keyOf={({ id }) => id}
          head={head()}
          rowHeight={46}
          row={(worker) => <Row worker={worker} />}
        />
      )}
    </section>
  )
}

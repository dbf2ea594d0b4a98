/** One worker, rank by rank, as the admin API tells it; and its last requests. */
import type { ReceiptLine } from "../domain/Receipt.ts"
import type { Trust } from "../domain/Worker.ts"
import { useJson } from "./Panel.tsx"
import { LinesTable } from "./Requests.tsx"
import { State, TrustWord } from "./Small.tsx"
import { ago, count, duration, layers, percent, plural } from "./Words.ts"

/** The part of `GET /admin/workers/ID` that is shown. */
interface Worker {
  readonly id: string
  readonly url: string
  readonly origin: string
  readonly state: string
  readonly why: string
  readonly since: string
  readonly engine: string | null
  readonly models: ReadonlyArray<{ readonly id: string }>
  readonly blockSize: number | null
  readonly blockCount: number | null
  readonly startedAt: string | null
  readonly inFlight: number
  readonly load: {
    readonly running: number | null
    readonly waiting: number | null
    readonly kvUsage: number | null
  } | null
  readonly breaker: { readonly failuresInARow: number; readonly timesOpened: number; readonly retryAt: string | null }
  readonly ranks: ReadonlyArray<Rank>
}

interface Rank {
  readonly slot: number
  readonly rank: number | null
  readonly trust?: Trust
  readonly why?: string
  readonly credit?: number
  readonly error?: { readonly deliveredShare: number; readonly meanTokens: number; readonly samples: number }
  readonly blocks: Readonly<Record<(typeof layers)[number], number>>
  readonly events: {
    readonly state?: string
    readonly batches?: number
    readonly gaps?: number
    readonly replays?: number
  } | null
  readonly ledger: {
    readonly queued: number
    readonly active: number
    readonly waitMs: number
    readonly prefillMsPerToken: number
    readonly decodeMsPerToken: number
  } | null
}

type Facts = ReadonlyArray<readonly [string, string | null]>

const FactList = ({ facts }: { facts: Facts }) => (
  <dl class="facts">
    {facts.map(([name, value]) =>
      value === null ? null : (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      )
    )}
  </dl>
)

const RankView = ({
  rank: { blocks, credit, error, events, ledger, rank, trust, why },
  several
}: {
  rank: Rank
  several: boolean
}) => (
  <section>
    <h3>
      {several ? `Rank ${rank}` : "Its cache, as the router sees it"} <TrustWord trust={trust ?? null} />
    </h3>
    {why !== undefined && why !== "" && <p class="quiet">{why}</p>}
    <FactList
      facts={[
        ["Overlap counts", credit === undefined ? null : percent(credit)],
        [
          "Delivered of predicted",
          error === undefined || error.samples === 0 ? null : `${percent(error.deliveredShare)} lately`
        ],
        [
          "Blocks",
          layers
            .filter((layer) => blocks[layer] > 0)
            .map((layer) => `${layer} ${count(blocks[layer])}`)
            .join(", ") || "none"
        ],
        [
          "Events",
          events === null
            ? "none: its cache is guessed"
            : `${plural(events.batches ?? 0, "batch", "batches")}, ${plural(events.gaps ?? 0, "gap")}, ${plural(events.replays ?? 0, "replay")}`
        ],
        [
          "Load",
          ledger === null
            ? null
            : `${count(ledger.queued)} queued, ${count(ledger.active)} active, ${duration(ledger.waitMs)} to wait`
        ],
        [
          "Speed",
          ledger === null
            ? null
            : `prefill ${duration(ledger.prefillMsPerToken)}, decode ${duration(ledger.decodeMsPerToken)} a token`
        ]
      ]}
    />
  </section>
)

export const WorkerView = ({ id }: { id: string }) => {
  const { fault, json } = useJson<Worker>(`/admin/workers/${encodeURIComponent(id)}`, 2_000)
  const lines = useJson<{ readonly receipts: ReadonlyArray<ReceiptLine> }>(
    `/admin/receipts?limit=20&worker=${encodeURIComponent(id)}`,
    2_000
  )
  if (fault !== null)
    return (
      <>
        <h2>{id}</h2>
        <p role="alert">{fault}</p>
      </>
    )
  if (json === null) return <p class="quiet">Asking …</p>
  const {
    blockCount,
    blockSize,
    breaker,
    engine,
    inFlight,
    load,
    models,
    origin,
    ranks,
    since,
    startedAt,
    state,
    url,
    why
  } = json
  const now = Date.now()
  return (
    <>
      <h2>{id}</h2>
      <p>
        <State state={state} />{" "}
        <span class="quiet">
          for {ago(since, now).replace(" ago", "")}: {why}
        </span>
      </p>
      <FactList
        facts={[
          ["Address", url],
          ["Engine", engine],
          ["Models", models.map((model) => model.id).join(", ") || null],
          ["Listed by", origin],
          ["Cache", blockSize === null ? null : `${count(blockCount)} blocks of ${count(blockSize)} tokens`],
          ["Started", startedAt === null ? null : ago(startedAt, now)],
          ["In flight", plural(inFlight, "request")],
          [
            "Engine says",
            load === null
              ? null
              : `${count(load.running)} running, ${count(load.waiting)} waiting, ${percent(load.kvUsage)} of its cache in use`
          ],
          [
            "Breaker",
            breaker.timesOpened === 0
              ? null
              : `opened ${plural(breaker.timesOpened, "time")}, ${plural(breaker.failuresInARow, "failure")} in a row`
          ]
        ]}
      />
      {ranks.map((rank) => (
        <RankView key={rank.slot} rank={rank} several={ranks.length > 1} />
      ))}
      <h3>Its last requests</h3>
      {lines.json === null || lines.json.receipts.length === 0 ? (
        <p class="quiet">{lines.fault ?? "None of late."}</p>
      ) : (
        <div class="rows">
          <LinesTable withWorker={false} label="Its last requests" of={lines.json.receipts} />
        </div>
      )}
    </>
  )
}

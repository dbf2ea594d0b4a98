/** Requests as they end, the newest first. Each leads to why it went where it went. */
import type { ReceiptLine } from "../domain/Receipt.ts"
import { lines, noReceipts, pause, paused, skipped, waitingCount } from "./Live.ts"
import { linkTo, place } from "./Place.ts"
import { clock, count, duration, outcomeOf, percent, shortId, tokens } from "./Words.ts"

const shownMax = 100

/** Of the prompt what was predicted as an outline, what was delivered as a bar. */
export const Hit = ({ line: { deliveredTokens, predictedTokens, promptTokens } }: { line: ReceiptLine }) => {
  const share = (count: number) => (promptTokens === 0 ? 0 : Math.min(1, count / promptTokens))
  const found = deliveredTokens ?? predictedTokens
  return (
    <span class="share" title={`predicted ${tokens(predictedTokens)}, delivered ${tokens(deliveredTokens)}`}>
      <span class="number">{percent(share(found))}</span>
      <span class="bar" aria-hidden="true">
        <span class="is-own" style={{ width: `${100 * share(found)}%` }} />
        <span class="foreseen" style={{ left: `${100 * share(predictedTokens)}%` }} />
      </span>
    </span>
  )
}

export const Outcome = ({ outcome }: Pick<ReceiptLine, "outcome">) => {
  const { mark, tone, words } = outcomeOf(outcome)
  return (
    <span class={`word ${tone}`} title={words}>
      <span aria-hidden="true">{mark}</span> <span class={outcome === "ok" ? "hidden" : ""}>{words}</span>
    </span>
  )
}

export interface LinesProps {
  readonly label: string
  readonly of: ReadonlyArray<ReceiptLine>
  /** Not where all are one worker's. */
  readonly withWorker?: boolean
}

export const LinesTable = ({ label, of, withWorker = true }: LinesProps) => (
  <table class="lines" aria-label={label}>
    <thead>
      <tr>
        <th scope="col">Over at</th>
        <th scope="col">Request</th>
        {withWorker && <th scope="col">Worker</th>}
        <th scope="col" class="right wide-only">
          Prompt
        </th>
        <th scope="col">Hit</th>
        <th scope="col" class="right">
          TTFT
        </th>
      </tr>
    </thead>
    <tbody>
      {of.slice(0, shownMax).map((line) => (
        <tr
          key={line.id}
          aria-current={place.value.kind === "receipts" && place.value.id === line.id ? "true" : undefined}
        >
          <td class="number quiet">{clock(line.at)}</td>
          <th scope="row">
            <a href={linkTo("receipts", line.id)} title={`Why ${line.id} went there`}>
              {shortId(line.id)}
            </a>{" "}
            <Outcome outcome={line.outcome} />
          </th>
          {withWorker && <td>{line.worker ?? "none"}</td>}
          <td class="number right wide-only" title={tokens(line.promptTokens)}>
            {count(line.promptTokens)}
          </td>
          <td>
            <Hit line={line} />
          </td>
          <td class="number right">{duration(line.ttftMs)}</td>
        </tr>
      ))}
    </tbody>
  </table>
)

export const Requests = () => (
  <section class="card requests" aria-labelledby="requests">
    <div class="title">
      <h2 id="requests">Requests</h2>
      <p class="quiet small">
        {paused.value && waitingCount.value > 0 && `${count(waitingCount.value)} new`}
        {!paused.value && skipped.value > 0 && `${count(skipped.value)} more in the last second`}
      </p>
      <button type="button" aria-pressed={paused.value} onClick={() => pause(!paused.value)}>
        <span aria-hidden="true">{paused.value ? "▶ " : "❚❚ "}</span>
        {paused.value ? "Go on" : "Pause"}
      </button>
    </div>
    {noReceipts.value ? (
      <div class="empty">
        <p>This router keeps no receipts.</p>
        <p>
          Start it without <code>--receipts-max 0</code> to see why each request went where it went.
        </p>
      </div>
    ) : lines.value.length === 0 ? (
      <div class="empty">
        <p>No request yet.</p>
        <p>
          Send one to the router’s own port: <code>POST /v1/chat/completions</code>. It will appear here once it is
          over.
        </p>
      </div>
    ) : (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reached by the keyboard
      <section class="rows" tabIndex={0} aria-label="Requests, the newest first">
        <LinesTable label="Requests" of={lines.value} />
      </section>
    )}
  </section>
)

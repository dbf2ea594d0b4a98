/** Why one request went where it went: its receipt, try by try. */
import type { Receipt, ReceiptTry } from "../domain/Receipt.ts"
import { Costs } from "./Costs.tsx"
import { useJson } from "./Panel.tsx"
import { Phases } from "./Phases.tsx"
import { linkTo } from "./Place.ts"
import { Told } from "./Small.tsx"
import { clock, count, duration, outcomeOf, percent, plural, tokens } from "./Words.ts"

/** A rank is shown at its worker. */
export const workerLink = (name: string): string => linkTo("workers", name.replace(/\/dp\d+$/, ""))

const WorkerName = ({ name }: { name: string }) => <a href={workerLink(name)}>{name}</a>

const Sentence = ({ step }: { step: ReceiptTry }) => {
  const { candidates, others, worker } = step
  const all = candidates.length + others
  const chosen = candidates.find(({ lost }) => lost === null)
  const next = candidates.find(({ lost }) => lost !== null)
  if (chosen === undefined) return <p>It was sent to {worker}. What spoke for it was not kept.</p>
  return (
    <p class="sentence">
      <WorkerName name={worker} /> was chosen {all === 1 ? "as the only candidate" : `of ${count(all)} candidates`}: it
      held {tokens(chosen.cachedTokens)} of the prompt, and cost {duration(chosen.costMs)}.
      {next !== undefined && (
        <>
          {" "}
          Next was {next.worker}, at {duration(next.costMs)}: <Told words={next.lost!} />.
        </>
      )}
    </p>
  )
}

const Held = ({ receipt, step }: { receipt: Receipt; step: ReceiptTry }) => {
  const { bestTokens, deliveredTokens, predictedTokens } = step
  const rows = [
    ["Most held anywhere", bestTokens, "others"],
    ["Predicted here", predictedTokens, "recent"],
    ["Delivered", deliveredTokens, "own"]
  ] as const
  return (
    <table class="held" aria-label="Predicted and delivered">
      <tbody>
        {rows.map(([words, value, tone]) => (
          <tr key={words}>
            <th scope="row">{words}</th>
            <td class="number right">{value === null ? "not reported" : tokens(value)}</td>
            <td class="grow">
              <span class="bar wide" aria-hidden="true">
                <span
                  class={`is-${tone}`}
                  style={{
                    width: `${receipt.promptTokens === 0 ? 0 : Math.min(100, (100 * (value ?? 0)) / receipt.promptTokens)}%`
                  }}
                />
              </span>
            </td>
            <td class="number right quiet">
              {value === null || receipt.promptTokens === 0 ? "" : percent(value / receipt.promptTokens)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

const Step = ({ number, receipt, step }: { number: number | null; receipt: Receipt; step: ReceiptTry }) => (
  <section>
    {number !== null && (
      <h3>
        Try {number}: {step.worker}{" "}
        <span class="quiet">
          after {duration(step.atMs)}, {step.end}
        </span>
      </h3>
    )}
    <Sentence step={step} />
    <h3>What each would have cost</h3>
    {step.candidates.length === 0 ? <p class="quiet">Not kept.</p> : <Costs step={step} />}
    <p class="quiet small">
      {step.others > 0 && `${plural(step.others, "more candidate")} came no nearer. `}
      Workers of this model: {step.states}. Policy {step.policy}; one ms of added work costs others{" "}
      {Number(step.price.toFixed(2))} ms.
    </p>
    <h3>Predicted and delivered</h3>
    <Held receipt={receipt} step={step} />
  </section>
)

const Share = ({ id }: { id: string }) => (
  <p class="links">
    <button type="button" onClick={() => void navigator.clipboard?.writeText(location.href)}>
      Copy link
    </button>
    <a href={`/admin/receipts/${encodeURIComponent(id)}`} target="_blank" rel="noreferrer">
      As JSON
    </a>
  </p>
)

export const Why = ({ id }: { id: string }) => {
  const { fault, json } = useJson<Receipt>(`/admin/receipts/${encodeURIComponent(id)}`, null)
  if (fault !== null)
    return (
      <>
        <h2>Not found</h2>
        <p role="alert">{fault}</p>
      </>
    )
  if (json === null) return <p class="quiet">Asking …</p>
  const {
    asked,
    at,
    endpoint,
    exact,
    model,
    outcome,
    outputTokens,
    promptTokens,
    regret,
    status,
    stream,
    totalMs,
    traceId,
    tries,
    ttftMs
  } = json
  const last = tries.at(-1)
  const ended = outcomeOf(outcome)
  return (
    <>
      <h2>{last === undefined ? "No worker took it" : `Why ${last.worker}?`}</h2>
      <p class="quiet break">
        Request <code>{id}</code>
      </p>
      <dl class="facts">
        <div>
          <dt>Outcome</dt>
          <dd class={`word ${ended.tone}`}>
            <span aria-hidden="true">{ended.mark}</span> {ended.words}, {status === 0 ? "no status" : status}
          </dd>
        </div>
        <div>
          <dt>At</dt>
          <dd>{clock(at)}</dd>
        </div>
        <div>
          <dt>Model</dt>
          <dd>{asked === model ? model : `${asked}, which is ${model}`}</dd>
        </div>
        <div>
          <dt>Prompt</dt>
          <dd>
            {tokens(promptTokens)}
            {exact ? "" : ", estimated: matched by its text"}
          </dd>
        </div>
        <div>
          <dt>Answer</dt>
          <dd>
            {outputTokens === null ? "length unknown" : tokens(outputTokens)}, {endpoint}
            {stream ? ", streamed" : ""}
          </dd>
        </div>
        <div>
          <dt>TTFT</dt>
          <dd>{duration(ttftMs)}</dd>
        </div>
        <div>
          <dt>In all</dt>
          <dd>{duration(totalMs)}</dd>
        </div>
        {regret !== null && (
          <div>
            <dt>Given away</dt>
            <dd title="By the choice: most held anywhere less held by the one chosen. By the picture: predicted less delivered.">
              {count(regret.choiceTokens)} by choice, {count(regret.pictureTokens)} by picture, in tokens
            </dd>
          </div>
        )}
        {traceId !== null && (
          <div>
            <dt>Trace</dt>
            <dd>
              <code class="break">{traceId}</code>
            </dd>
          </div>
        )}
      </dl>
      <Share id={id} />
      {json.missing !== null && (
        <p class="sentence">
          {last === undefined ? "No worker could take it" : "No other worker could take it"}: {json.missing}.
        </p>
      )}
      {tries.map((step, i) => (
        <Step key={i} number={tries.length > 1 ? i + 1 : null} receipt={json} step={step} />
      ))}
      <h3>Where the time went</h3>
      <Phases receipt={json} />
    </>
  )
}

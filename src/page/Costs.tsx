/** Candidates as stacked bars of what each would have cost, the cheapest first, with the numbers and why each lost. */
import type { ReceiptCandidate, ReceiptTry } from "../domain/Receipt.ts"
import { Told, TrustWord } from "./Small.tsx"
import { count, duration, layers, percent, plural, tokens } from "./Words.ts"

const terms = [
  { of: "waitMs", name: "wait", words: "prefill that is queued ahead of it" },
  { of: "ownMs", name: "own", words: "prefill of what the worker lacks" },
  { of: "othersMs", name: "others", words: "what others will wait for that" },
  { of: "decodeMs", name: "decode", words: "slow-down of answers being made there" },
  { of: "recentMs", name: "recent", words: "work it was given lately" }
] as const

export const costWords = (candidate: ReceiptCandidate): string =>
  terms.map(({ name, of }) => `${name} ${duration(candidate[of])}`).join(", ")

const Held = ({ candidate: { cachedTokens, credit, heardAgoMs, heldTokens } }: { candidate: ReceiptCandidate }) => {
  // A layer holds what nearer ones do, too: told where it adds something.
  const byLayer = layers.filter(
    (layer, i) =>
      heldTokens[layer] > 0 && (i === 0 || layer === "guess" || heldTokens[layer] > heldTokens[layers[i - 1]!])
  )
  return (
    <p class="small quiet">
      Holds {tokens(cachedTokens)}
      {byLayer.length > 0 && ` (${byLayer.map((layer) => `${layer} ${count(heldTokens[layer])}`).join(", ")})`}
      {credit < 1 && `, of which ${percent(credit)} counts`}
      {heardAgoMs !== null && `; events heard ${duration(heardAgoMs)} before`}
    </p>
  )
}

export const Costs = ({ step: { candidates } }: { step: ReceiptTry }) => {
  const most = Math.max(1e-9, ...candidates.map(({ costMs }) => costMs))
  return (
    <>
      <ul class="legend">
        {terms.map(({ name, words }) => (
          <li key={name} title={words}>
            <span class={`swatch is-${name}`} aria-hidden="true" />
            {name} <span class="quiet small">{words}</span>
          </li>
        ))}
      </ul>
      <ol class="costs">
        {candidates.map((candidate) => {
          const { active, costMs, lost, queued, slot, trust, worker } = candidate
          return (
            <li key={slot} class={lost === null ? "chosen" : ""}>
              <p class="who">
                <b>{worker}</b> <TrustWord trust={trust} />
                <span class="quiet small">
                  {plural(queued, "request")} queued, {count(active)} active
                </span>
                <b class="number">{duration(costMs)}</b>
              </p>
              <div class="stack" aria-hidden="true">
                {terms.map(({ name, of }) => (
                  <span
                    key={name}
                    class={`is-${name}`}
                    style={{ width: `${(100 * Math.max(0, candidate[of])) / most}%` }}
                  />
                ))}
              </div>
              <p class="small">{costWords(candidate)}</p>
              <Held candidate={candidate} />
              <p class="verdict">{lost === null ? "✓ chosen" : <Told words={`lost: ${lost}`} />}</p>
            </li>
          )
        })}
      </ol>
    </>
  )
}

/** The few numbers that say how the fleet is. */
import type { ComponentChildren } from "preact"
import { totals, workers } from "./Live.ts"
import { count, duration, percent, perSecond, plural } from "./Words.ts"

const Total = ({ children, label, note }: { label: string; note: string; children: ComponentChildren }) => (
  <div class="total">
    <dt>{label}</dt>
    <dd>
      <strong>{children}</strong> <span class="quiet">{note}</span>
    </dd>
  </div>
)

export const Totals = () => {
  const now = totals.value
  const all = [...workers.value.values()]
  const able = all.filter(({ state }) => state === "ready" || state === "suspect" || state === "halfOpen").length
  const over = now === null ? "" : `last ${duration(1_000 * Math.round(now.overMs / 1_000))}`
  return (
    <section aria-labelledby="now">
      <h2 id="now" class="hidden">
        Now
      </h2>
      <dl class="totals">
        <Total
          label="Workers"
          note={able === all.length ? "all take work" : `${count(all.length - able)} do not take work`}
        >
          {count(able)}
          <small>/{count(all.length)}</small>
        </Total>
        <Total label="Requests" note={`${plural(now?.inFlight ?? 0, "request")} in flight`}>
          {now === null ? "–" : perSecond(now.requestsPerS)}
        </Total>
        <Total label="Hit rate" note="of prompt tokens">
          {percent(now?.hitRate ?? null)}
        </Total>
        <Total label="TTFT p50" note={over}>
          {duration(now?.ttftMsP50 ?? null)}
        </Total>
        <Total label="TTFT p90" note={over}>
          {duration(now?.ttftMsP90 ?? null)}
        </Total>
        <Total label="Errors" note={now === null ? "" : `of ${plural(now.requests, "request")}, ${over}`}>
          {count(now?.errors ?? null)}
        </Total>
      </dl>
    </section>
  )
}

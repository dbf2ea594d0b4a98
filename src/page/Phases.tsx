/** The seven phases of a request on one line of time, and what the router itself took of it. */
import type { Receipt } from "../domain/Receipt.ts"
import { duration } from "./Words.ts"

const names = ["receive", "hash", "match", "place", "book", "forward", "settle"] as const
const words: Readonly<Record<(typeof names)[number], string>> = {
  receive: "its body parsed",
  hash: "prompt to block keys",
  match: "who holds how much",
  place: "which worker",
  book: "charged to it",
  forward: "sent, and answered",
  settle: "what came of it noted"
}

/** Time held back for its turn is part of `place`, and no work of the router. */
export const Phases = ({ receipt: { phases, totalMs, tries, ttftMs, waitedMs } }: { receipt: Receipt }) => {
  let from = 0
  const rows = names.map((name) => {
    const ms = phases[name]
    const row = { name, ms, from }
    from += ms ?? 0
    return row
  })
  const whole = Math.max(from, totalMs, 1e-9)
  const own = rows.reduce((sum, { ms, name }) => sum + (name === "forward" ? 0 : (ms ?? 0)), 0)
  return (
    <>
      <p>
        The router took {duration(own - (phases.place === null ? 0 : waitedMs))} of {duration(totalMs)}
        {waitedMs > 0 && `, and held it for ${duration(waitedMs)} until its turn came`}
        {ttftMs !== null && `; the first token came after ${duration(ttftMs)}`}.
      </p>
      <table class="phases" aria-label="Phases">
        <tbody>
          {rows.map(({ from, ms, name }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="number right">{duration(ms)}</td>
              <td class="grow">
                <span class="bar wide" aria-hidden="true">
                  {ms !== null && (
                    <span
                      class={name === "forward" ? "is-others" : "is-own"}
                      style={{
                        left: `${Math.min(99, (100 * from) / whole)}%`,
                        width: `max(2px, ${(100 * ms) / whole}%)`
                      }}
                    />
                  )}
                  {name === "place" && ms !== null && waitedMs > 0 && (
                    <span
                      class="is-wait"
                      style={{ left: `${(100 * from) / whole}%`, width: `${(100 * Math.min(ms, waitedMs)) / whole}%` }}
                    />
                  )}
                  {name === "forward" && ttftMs !== null && (
                    <span class="foreseen" style={{ left: `${Math.min(100, (100 * ttftMs) / whole)}%` }} />
                  )}
                </span>
              </td>
              <td class="quiet small wide-only">
                {words[name]}
                {name === "place" && waitedMs > 0 && `, ${duration(waitedMs)} of it waiting`}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {tries.length > 1 && (
        <p class="quiet small">Tries are added up: {tries.map(({ end, worker }) => `${worker} ${end}`).join("; ")}.</p>
      )}
    </>
  )
}

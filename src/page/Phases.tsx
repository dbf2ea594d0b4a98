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

export const Phases = ({ receipt: { phases, totalMs, tries, ttftMs } }: { receipt: Receipt }) => {
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
        The router took {duration(own)} of {duration(totalMs)}
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
                  {name === "forward" && ttftMs !== null && (
                    <span class="foreseen" style={{ left: `${Math.min(100, (100 * ttftMs) / whole)}%` }} />
                  )}
                </span>
              </td>
              <td class="quiet small wide-only">{words[name]}</td>
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

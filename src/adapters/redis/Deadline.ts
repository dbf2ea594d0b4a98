/**
 * Deadline: a time by which something is to have happened, fair to a busy process.
 *
 * When its turn comes late, timers run before what has long arrived is read; so what is there by then still counts.
 */
export const start = (ms: number, late: () => void): (() => void) => {
  let turn: NodeJS.Immediate | undefined
  const timer = setTimeout(() => {
    turn = setImmediate(late)
  }, ms)
  return () => {
    clearTimeout(timer)
    clearImmediate(turn)
  }
}

/** A deadline of ours passed. */
export class Late extends Error {}

/** Rejects when it takes longer. */
export const within = <A>(ms: number, who: string, work: Promise<A>): Promise<A> =>
  new Promise((resolve, reject) => {
    const stop = start(ms, () => reject(new Late(`${who} did not answer in ${ms} ms`)))
    work.then(resolve, reject).finally(stop)
  })

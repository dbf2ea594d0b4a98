/** Progress of the judge: one line drawn again and again on a terminal; elsewhere a plain line now and then. */
import * as Drawn from "../replay/Progress.ts"

const everyMs = 60_000

const plain = (write: (line: string) => void, now: () => number): Drawn.Progress => {
  let what = ""
  let fromMs = 0
  let nextMs = 0
  return {
    begin: (text) => {
      what = text
      fromMs = now()
      nextMs = fromMs + everyMs
      write(text)
    },
    at: (share) => {
      if (now() < nextMs) return
      nextMs = now() + everyMs
      write(Drawn.line(what, share, now() - fromMs))
    },
    close: () => {}
  }
}

export const make = (stream: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>): Drawn.Progress => {
  const drawn = Drawn.make(stream, env)
  return drawn === Drawn.silent
    ? plain(
        (line) => stream.write(`${line}\n`),
        () => performance.now()
      )
    : drawn
}

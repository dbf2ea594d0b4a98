/** Screen: a terminal while `top` has it: a page of its own, keys one by one, and everything as it was afterwards. */
import { emitKeypressEvents } from "node:readline"
import type { Size } from "./Frame.ts"
import type { Key } from "./Keys.ts"

export interface Screen {
  readonly size: () => Size
  readonly draw: (lines: ReadonlyArray<string>) => void
  readonly close: () => void
}

/** The alternate page and no cursor; and back. Frames come between the two others, so that none is seen half drawn. */
const enter = "\u001b[?1049h\u001b[?25l"
const leave = "\u001b[?25h\u001b[?1049l"
const begin = "\u001b[?2026h\u001b[H"
const end = "\u001b[J\u001b[?2026l"

/** Some pseudo-terminals have no size. */
const usual: Size = { width: 80, height: 24 }

export const open = (
  input: NodeJS.ReadStream,
  output: NodeJS.WriteStream,
  on: { readonly key: (key: Key) => void; readonly resized: () => void }
): Screen => {
  const key = (_: string | undefined, pressed: Key): void => on.key(pressed)
  const restore = (): void => void output.write(leave)
  output.write(enter)
  process.once("exit", restore)
  output.on("resize", on.resized)
  if (input.isTTY) {
    emitKeypressEvents(input)
    input.setRawMode(true).on("keypress", key).resume()
  }
  return {
    size: () => ({ width: output.columns || usual.width, height: output.rows || usual.height }),
    draw: (lines) => void output.write(`${begin}${lines.map((line) => `${line}\u001b[K`).join("\r\n")}${end}`),
    close: () => {
      process.off("exit", restore)
      output.off("resize", on.resized)
      if (input.isTTY) input.off("keypress", key).setRawMode(false).pause()
      restore()
    }
  }
}

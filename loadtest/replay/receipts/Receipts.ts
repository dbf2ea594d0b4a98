/** Receipts: files of them, each placement made once more and judged under other weights. */
import { existsSync } from "node:fs"
import { eachLine } from "../Lines.ts"
import { Refused } from "../Prepare.ts"
import { TraceError } from "../TraceError.ts"
import * as ReceiptLine from "./ReceiptLine.ts"
import * as Rescore from "./Rescore.ts"
import type { Variant } from "./Variants.ts"

export interface Read extends Rescore.Rescored {
  readonly files: ReadonlyArray<string>
  /** Lines, or rests of files, that could not be read; and what was wrong with the first of them. */
  readonly unread: number
  readonly unreadFirst: ReadonlyArray<string>
}

const unreadMax = 5

/** Throws `Refused` where a file is missing, or there is no receipt in any. What cannot be read of a file is counted. */
export const run = async (files: ReadonlyArray<string>, variants: ReadonlyArray<Variant>): Promise<Read> => {
  for (const file of files) if (!existsSync(file)) throw new Refused(`There is no file ${file}.`)
  const rescore = Rescore.make(variants)
  const unreadFirst: Array<string> = []
  let unread = 0
  const skip = (error: unknown): void => {
    if (!(error instanceof TraceError)) throw error
    if (++unread <= unreadMax) unreadFirst.push(error.message)
  }
  for (const file of files) {
    await eachLine(file, (line) => {
      try {
        rescore.take(ReceiptLine.read(line), file, line.number)
      } catch (error) {
        skip(error)
      }
      return true
    }).catch(skip)
  }
  const result = rescore.result()
  if (result.receipts === 0) {
    throw new Refused(
      [`There is no receipt in ${files.join(", ")}. Give what a router wrote by --receipts-file.`, ...unreadFirst].join(
        "\n"
      )
    )
  }
  return { ...result, files, unread, unreadFirst }
}

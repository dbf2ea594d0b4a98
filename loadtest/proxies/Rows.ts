/** Rows: a bench's figures under each other, printed as they come and kept for its results. */

export interface Rows {
  readonly lines: ReadonlyArray<string>
  readonly add: (name: string, ...cells: ReadonlyArray<string>) => void
}

/** Characters of the first cell, and of each other. */
export const make = (first: number, other: number): Rows => {
  const lines: Array<string> = []
  return {
    lines,
    add: (name, ...cells) => {
      lines.push(name.padEnd(first) + cells.map((cell) => cell.padStart(other)).join(""))
      console.log(lines.at(-1))
    }
  }
}

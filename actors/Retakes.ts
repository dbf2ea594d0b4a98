/** Retakes: how often the picture of one publisher is taken anew from another replica. Pure; told the time. */
export interface Options {
  /** From one time to the next of the same publisher; twice as long each time, up to the second. */
  readonly retakeMsMin: number
  readonly retakeMsMax: number
}

export class Retakes {
  private readonly last = new Map<string, { readonly atMs: number; readonly waitMs: number }>()
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
  }

  isDue(name: string, nowMs: number): boolean {
    const last = this.last.get(name)
    return last === undefined || nowMs - last.atMs >= last.waitMs
  }

  taken(name: string, nowMs: number): void {
    const { retakeMsMax, retakeMsMin } = this.options
    const before = this.last.get(name)
    this.last.set(name, {
      atMs: nowMs,
      waitMs: before === undefined ? retakeMsMin : Math.min(retakeMsMax, 2 * before.waitMs)
    })
  }

  /** Publishers that left are forgotten. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.last.keys()) if (!names.has(name)) this.last.delete(name)
  }
}

/** HeldInputs: what waits, in order and in bounds, while the publisher it is for is being copied. */
import type { Input } from "./Publisher.ts"

export interface Options {
  readonly heldMax: number
  readonly heldBytesMax: number
}

export class HeldInputs {
  private inputs: Array<Input> | null = null
  private bytes = 0
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
  }

  get isHolding(): boolean {
    return this.inputs !== null
  }

  begin(): void {
    this.inputs = []
    this.bytes = 0
  }

  /** True when it waits; false when there is no room, and it is to be released after all before it. */
  take(input: Input): boolean {
    if (this.inputs === null) return false
    // Time passes again soon enough.
    if (input._tag === "Tick") return true
    const bytes = "payload" in input ? input.payload.length : 0
    if (this.inputs.length >= this.options.heldMax || this.bytes + bytes > this.options.heldBytesMax) return false
    this.bytes += bytes
    this.inputs.push(input)
    return true
  }

  /** What has waited; from now on nothing waits. */
  end(): ReadonlyArray<Input> {
    const { inputs } = this
    this.inputs = null
    return inputs ?? []
  }
}

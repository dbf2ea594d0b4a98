/**
 * Demo: a whole fleet on one machine, and what cache-aware routing does for it.
 */

/** A running router. The caller of `runDemo` supplies it: this room knows no router. */
export interface RouterHandle {
  /** Where clients send requests, for example `http://127.0.0.1:40123`. */
  readonly url: string
  /** Where operators ask, or null when there is no such listener. */
  readonly adminUrl: string | null
  readonly close: () => Promise<void>
}

export interface RouterOptions {
  /** Base URLs of the workers. */
  readonly workers: ReadonlyArray<string>
  readonly policy: "eta" | "round-robin"
}

/** Starts a router on free ports of the loopback and resolves once it accepts requests and knows its workers. */
export type StartRouter = (options: RouterOptions) => Promise<RouterHandle>

export interface DemoOptions {
  readonly engines: number
  /** Requests sent under each policy. */
  readonly requests: number
  /** Seconds over which those requests are planned, under each policy. */
  readonly seconds: number
  readonly seed: number
  /** Prints one JSON document instead of tables. */
  readonly json: boolean
  /** Stays up after the tables until the signal, with traffic running. */
  readonly keep: boolean
}

/**
 * FleetProcess: the demo's engines, in a process of their own, so that they and the router do not share an event loop.
 *
 * Started by `Fleet.ts` with a channel. Hears one message, the options; answers once, `{ urls }` or `{ error }`. Lives as
 * long as the channel: when the demo ends, however it ends, the channel closes and so does this.
 */
import * as SimFleet from "../fleet/SimFleet.ts"
import type { FleetOptions } from "./Fleet.ts"

// Ctrl-C reaches every process of the terminal. The demo decides when its engines stop.
process.on("SIGINT", () => {})

let fleet: SimFleet.SimFleet | undefined

process.once("disconnect", async () => {
  await fleet?.close()
  process.exit(0)
})

process.once("message", async (options: FleetOptions) => {
  try {
    fleet = await SimFleet.start({
      engines: options.engines,
      blocks: options.blocks,
      blockSize: options.blockSize,
      speed: options.speed,
      seed: options.seed
    })
    process.send?.({ urls: fleet.urls })
  } catch (error) {
    process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
})

/** A fleet to replay traces on: four engines whose caches are soon full. */
import * as TimeModel from "../../loadtest/fleet/TimeModel.ts"

export const fleet = {
  workers: 4,
  blocks: 600,
  pinsMax: 600,
  rates: TimeModel.llama70,
  stepTokens: 8_192,
  maxRunning: 256
}

import { afterAll, beforeAll } from "vitest"
import { busConformance } from "../../ports/BusConformance.ts"
import * as NatsRig from "../../support/NatsRig.ts"
import * as NatsServer from "../../support/NatsServer.ts"

let server: NatsServer.NatsServer

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(() => server.close())

busConformance("NatsBus", () => NatsRig.broker(server))

import { afterAll, beforeAll } from "vitest"
import * as NatsServer from "../../../loadtest/servers/NatsServer.ts"
import { busConformance } from "../../ports/BusConformance.ts"
import * as NatsRig from "../../support/NatsRig.ts"

let server: NatsServer.NatsServer

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(() => server.close())

busConformance("NatsBus", () => NatsRig.broker(server))

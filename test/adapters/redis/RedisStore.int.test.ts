import { afterAll, beforeAll } from "vitest"
import { type RedisServer, start } from "../../../loadtest/servers/RedisServer.ts"
import { stateStoreConformance } from "../../ports/StateStoreConformance.ts"
import { rig } from "../../support/RedisRig.ts"

let server: RedisServer
beforeAll(async () => {
  server = await start()
})
afterAll(() => server?.close())

stateStoreConformance("RedisStore on a server", () => rig(server))

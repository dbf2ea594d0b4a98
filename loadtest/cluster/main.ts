/**
 * A whole deployment on this machine, until Ctrl-C: what docker-compose.yml starts, without docker.
 *
 *   npm run cluster
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as SimFleet from "../fleet/SimFleet.ts"
import * as NatsServer from "../servers/NatsServer.ts"
import * as Balancer from "./Balancer.ts"

const help = `npm run cluster -- [options]

nats-server, simulated engines, and routers that share what they know, behind a balancer that deals them connections in
turn. Until Ctrl-C.

  --routers N   (2)
  --engines N   (4)
  --port N      of the balancer (8080); 0 takes any free one
  --help        this text`

const bin = fileURLToPath(new URL("../../src/bin.ts", import.meta.url))

const { values } = parseArgs({
  options: {
    routers: { type: "string", default: "2" },
    engines: { type: "string", default: "4" },
    port: { type: "string", default: "8080" },
    help: { type: "boolean", default: false }
  }
})

const whole = (name: "routers" | "engines" | "port", least: number): number => {
  const value = Number(values[name])
  if (Number.isInteger(value) && value >= least && value < 65_536) return value
  console.error(`--${name} is "${values[name]}"; give a whole number from ${least} up.\n\n${help}`)
  return process.exit(2)
}

interface Router {
  readonly url: string
  readonly adminUrl: string
  /** Done when its process has ended. */
  readonly stop: () => Promise<void>
}

const startRouter = async (id: string, nats: string, engines: ReadonlyArray<string>): Promise<Router> => {
  const child = spawn(
    process.execPath,
    [
      ...[bin, "serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--drain-ms", "1000"],
      ...["--log-format", "pretty"],
      ...["--nats", nats, "--replica-id", id, ...engines.flatMap((url) => ["--worker", url])]
    ],
    { stdio: ["ignore", "pipe", "pipe"] }
  )
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  const found = await new Promise<RegExpExecArray>((resolve, reject) => {
    let output = ""
    const take = (chunk: Buffer) => {
      for (const line of chunk.toString().trimEnd().split("\n")) console.error(`${id}  ${line}`)
      output += chunk.toString()
      const match = / at (http:\S+)\/v1 · admin at (http:\S+)\/admin/.exec(output)
      if (match !== null) resolve(match)
    }
    child.stdout.on("data", take)
    child.stderr.on("data", take)
    void ended.then(() => reject(new Error(`${id} ended:\n${output}`)))
  })
  return {
    url: found[1]!,
    adminUrl: found[2]!,
    stop: () => {
      child.kill("SIGTERM")
      return ended
    }
  }
}

if (values.help) {
  console.log(help)
  process.exit(0)
}
const [routerCount, engineCount, port] = [whole("routers", 1), whole("engines", 1), whole("port", 0)]
// The terminal tells every process of Ctrl-C; only this one acts, and ends them in order.
const asked = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => resolve())
})
let routers: ReadonlyArray<Router> = []
const balancer = await Balancer.start(() => routers.map(({ url }) => url), port).catch((cause: Error) => {
  console.error(
    `The balancer cannot listen on port ${port}: ${cause.message}. Choose another --port; 0 takes any free one.`
  )
  return process.exit(1)
})
const nats = await NatsServer.start()
const engines = await SimFleet.start({ engines: engineCount })
const ids = Array.from({ length: routerCount }, (_, i) => `router-${i + 1}`)
routers = await Promise.all(ids.map((id) => startRouter(id, nats.url, engines.urls)))
console.log(`
NATS       ${nats.url}
engines    ${engines.urls.join("  ")}
${routers.map(({ adminUrl, url }, i) => `${ids[i]}   ${url}/v1   admin ${adminUrl}/admin/cluster`).join("\n")}
ask        ${balancer.url}/v1/models
Ctrl-C ends it all.`)
await asked
await balancer.close()
await Promise.all(routers.map((router) => router.stop()))
await engines.close()
await nats.close()
process.exit(0)

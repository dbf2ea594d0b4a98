import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { Result } from "effect"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import * as Config from "../src/Config.ts"

const file = new URL("../docker-compose.yml", import.meta.url)

interface Service {
  readonly command: string
  readonly environment?: Readonly<Record<string, string>>
}

const services = (): Readonly<Record<string, Service>> =>
  parse(readFileSync(file, "utf8"), { merge: true }).services as Readonly<Record<string, Service>>

const hasCompose = spawnSync("docker", ["compose", "version"]).status === 0

describe("docker-compose.yml", () => {
  it("starts NATS, Redis, four engines, and two routers that know all of these", () => {
    const names = Object.keys(services())
    expect(names.filter((name) => name.startsWith("engine-"))).toHaveLength(4)
    expect(names).toEqual(expect.arrayContaining(["nats", "redis", "router-1", "router-2"]))
    for (const name of ["router-1", "router-2"]) {
      const { command, environment } = services()[name]!
      const port = /--port (\d+)/.exec(command)![1]
      const config = Result.getOrThrow(Config.decode({ env: environment!, flags: { port: Number(port) } }))
      expect(config.nats).toEqual(["nats://nats:4222"])
      const hosts = Config.workers(config).map(({ url }) => new URL(url).hostname)
      expect(hosts).toEqual(names.filter((each) => each.startsWith("engine-")))
    }
  })

  it("gives engines the port that routers ask", () => {
    for (const url of services()["router-1"]!.environment!.WARMPATH_WORKERS!.split(",")) {
      const { hostname, port } = new URL(url)
      expect(services()[hostname]!.command).toContain(`--port ${port}`)
    }
  })

  it.runIf(hasCompose)("is valid to docker compose", () => {
    const { status, stderr } = spawnSync("docker", ["compose", "--file", file.pathname, "config", "--quiet"], {
      encoding: "utf8"
    })
    expect(stderr).toBe("")
    expect(status).toBe(0)
  })
})

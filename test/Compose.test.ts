import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { Result } from "effect"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import * as Config from "../src/Config.ts"

const root = new URL("../", import.meta.url)
const file = new URL("docker-compose.yml", root)

interface Service {
  readonly image?: string
  readonly command: string
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: ReadonlyArray<string>
}

const read = (name: string) => parse(readFileSync(new URL(name, root), "utf8"), { merge: true })
const services = () => read("docker-compose.yml").services as Readonly<Record<string, Service>>
const telemetry = (name: string) => read(`src/telemetry/${name}`)

const routers = ["router-1", "router-2"]
const configOf = (name: string): Config.Config => {
  const { command, environment } = services()[name]!
  const port = /--port (\d+)/.exec(command)![1]
  return Result.getOrThrow(Config.decode({ env: environment!, flags: { port: Number(port) } }))
}
const adminPort = (name: string): string => /--admin-port (\d+)/.exec(services()[name]!.command)![1]!

/** Files of this repository that a service sees, by where it sees them. */
const mounted = (name: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    (services()[name]!.volumes ?? [])
      .filter((volume) => volume.startsWith("./"))
      .map((volume) => volume.split(":"))
      .map(([from, to]) => [to!, from!])
  )

const hasCompose = spawnSync("docker", ["compose", "version"]).status === 0

describe("docker-compose.yml", () => {
  it("starts NATS, Redis, four engines, and two routers that know all of these", () => {
    const names = Object.keys(services())
    expect(names.filter((name) => name.startsWith("engine-"))).toHaveLength(4)
    expect(names).toEqual(expect.arrayContaining(["nats", "redis", ...routers]))
    for (const name of routers) {
      const config = configOf(name)
      expect(config.nats).toEqual(["nats://nats:4222"])
      const hosts = Config.workers(config).map(({ url }) => new URL(url).hostname)
      expect(hosts).toEqual(names.filter((each) => each.startsWith("engine-")))
    }
  })

  it("gives engines the port that routers ask", () => {
    for (const url of services()["router-1"]!.environment!["WARMPATH_WORKERS"]!.split(",")) {
      const { hostname, port } = new URL(url)
      expect(services()[hostname]!.command).toContain(`--port ${port}`)
    }
  })

  it("pins every image, and mounts nothing that is not there", () => {
    for (const [name, { image }] of Object.entries(services())) {
      expect(image, name).toMatch(/^[\w./-]+:v?\d+(\.\d+)*$/)
      for (const from of Object.values(mounted(name))) expect(existsSync(new URL(from, root)), from).toBe(true)
    }
  })

  it("has routers and engines tell the collector of their traces, and the collector tell Jaeger", () => {
    const { exporters, receivers, service } = telemetry("compose/otel-collector.yml")
    expect(Object.values(mounted("otel-collector"))).toEqual(["./src/telemetry/compose/otel-collector.yml"])
    expect(services()["otel-collector"]!.command).toBe(`--config=${Object.keys(mounted("otel-collector"))[0]}`)
    const listens = ({ hostname, port }: URL, protocol: "grpc" | "http") => {
      expect(hostname).toBe("otel-collector")
      expect(receivers.otlp.protocols[protocol].endpoint).toBe(`0.0.0.0:${port}`)
    }
    for (const name of routers) {
      const config = configOf(name)
      expect([config.otlpProtocol, config.serviceName, config.traceRatio]).toEqual(["http/protobuf", name, 1])
      listens(new URL(config.otlpEndpoint!), "http")
    }
    // As vLLM does, unless it is told otherwise.
    listens(new URL(/--otlp-traces-endpoint (\S+)/.exec(services()["engine-1"]!.command)![1]!), "grpc")
    for (const { exporters: to, receivers: from } of Object.values(service.pipelines) as Array<
      Record<string, string[]>
    >) {
      expect(from).toEqual(["otlp"])
      for (const each of to!) expect(Object.keys(exporters)).toContain(each)
    }
    const [host, port] = exporters["otlp/jaeger"].endpoint.split(":")
    expect(services()[host]!.command).toContain(`receivers.otlp.protocols.grpc.endpoint=0.0.0.0:${port}`)
  })

  it("has Prometheus scrape every router under the job that the rules name, with the rules", () => {
    expect(mounted("prometheus")["/etc/prometheus"]).toBe("./src/telemetry/prometheus")
    const { rule_files, scrape_configs } = telemetry("prometheus/prometheus.yml")
    expect(rule_files).toEqual(["rules.yml"])
    expect(scrape_configs).toHaveLength(1)
    expect(readFileSync(new URL("src/telemetry/prometheus/rules.yml", root), "utf8")).toContain(
      `up{job="${scrape_configs[0].job_name}"}`
    )
    expect(scrape_configs[0].static_configs[0].targets).toEqual(routers.map((name) => `${name}:${adminPort(name)}`))
  })

  it("gives Grafana the dashboard, and what it asks", () => {
    const mounts = mounted("grafana")
    const seen = Object.fromEntries(Object.entries(mounts).map(([to, from]) => [from, to]))
    const [provider] = telemetry("compose/grafana-dashboards.yml").providers
    expect(seen["./src/telemetry/grafana"]).toBe(provider.options.path)
    const home = services()["grafana"]!.environment!["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]!
    expect(existsSync(new URL(home.replace(provider.options.path, "src/telemetry/grafana"), root))).toBe(true)
    expect(seen["./src/telemetry/compose/grafana-datasources.yml"]).toMatch(
      /^\/etc\/grafana\/provisioning\/datasources\//
    )
    expect(seen["./src/telemetry/compose/grafana-dashboards.yml"]).toMatch(
      /^\/etc\/grafana\/provisioning\/dashboards\//
    )
    const { datasources } = telemetry("compose/grafana-datasources.yml")
    expect(datasources.map(({ type }: { type: string }) => type)).toEqual(["prometheus", "jaeger"])
    for (const { url } of datasources) expect(Object.keys(services())).toContain(new URL(url).hostname)
  })

  it.runIf(hasCompose)("is valid to docker compose", () => {
    const { status, stderr } = spawnSync("docker", ["compose", "--file", file.pathname, "config", "--quiet"], {
      encoding: "utf8"
    })
    expect(stderr).toBe("")
    expect(status).toBe(0)
  })
})

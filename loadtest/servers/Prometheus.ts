/** A real prometheus on a free port of this machine, its data in a folder of its own, and its promtool; ended with the test whatever happens. */
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { obtain } from "./Obtain.ts"
import * as ServerProcess from "./ServerProcess.ts"

const executable = (name: "prometheus" | "promtool"): Promise<string> =>
  obtain({
    name,
    variable: name.toUpperCase(),
    debian: { package: "prometheus", path: `usr/bin/${name}` },
    image: { name: "prom/prometheus:v2.53.1", path: `/bin/${name}` }
  })

/** Runs promtool in a folder, on some input. Answers with all it said; rejects with that when it is not content. */
export const promtool = async (folder: string, args: ReadonlyArray<string>, input = ""): Promise<string> => {
  const running = promisify(execFile)(await executable("promtool"), args, { cwd: folder })
  running.child.stdin!.end(input)
  const { stderr, stdout } = await running
  return stdout + stderr
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly state: "pending" | "firing"
}

/** One series of an answer, and its value now. */
export interface Point {
  readonly metric: Readonly<Record<string, string>>
  readonly value: number
}

export interface Prometheus {
  readonly url: string
  readonly alerts: () => Promise<ReadonlyArray<Alert>>
  /** Rejects with its error for what is no PromQL. */
  readonly query: (promql: string) => Promise<ReadonlyArray<Point>>
  /** For good, data and all. */
  readonly close: () => Promise<void>
}

/** `config`: its configuration file; `rules`: what that may call `rules.yml`. */
export const start = async (config: string, rules: string): Promise<Prometheus> => {
  const path = await executable("prometheus")
  const port = await ServerProcess.freePort()
  const folder = await mkdtemp(join(tmpdir(), "prometheus-"))
  await writeFile(join(folder, "prometheus.yml"), config)
  await writeFile(join(folder, "rules.yml"), rules)
  const args = [
    `--config.file=${join(folder, "prometheus.yml")}`,
    `--storage.tsdb.path=${join(folder, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`
  ]
  const server = ServerProcess.make("prometheus", { path, args, ready: /Server is ready to receive web requests/ })
  await server.start()
  const url = `http://127.0.0.1:${port}`
  const ask = async <T>(route: string): Promise<T> => {
    const answer = (await (await fetch(`${url}/api/v1/${route}`)).json()) as { data: T; error?: string }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.data
  }
  return {
    url,
    alerts: async () => (await ask<{ alerts: ReadonlyArray<Alert> }>("alerts")).alerts,
    query: async (promql) => {
      const { result } = await ask<{
        result: ReadonlyArray<{ metric: Point["metric"]; value: readonly [number, string] }>
      }>(`query?query=${encodeURIComponent(promql)}`)
      return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
    },
    close: async () => {
      await server.end("SIGKILL")
      await rm(folder, { recursive: true, force: true })
    }
  }
}

/** What the Grafana dashboard asks Prometheus. */
import { readFileSync } from "node:fs"

export const file = new URL("../../src/telemetry/grafana/warmpath.json", import.meta.url)

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly datasource?: { readonly uid: string }
  readonly targets?: ReadonlyArray<{ readonly expr: string; readonly datasource: { readonly uid: string } }>
}

export interface Dashboard {
  readonly uid: string
  readonly panels: ReadonlyArray<Panel>
  readonly templating: { readonly list: ReadonlyArray<{ readonly name: string; readonly type: string }> }
}

export const read = (): Dashboard => JSON.parse(readFileSync(file, "utf8")) as Dashboard

/** Its questions, with the titles of their panels. */
export const questions = (): ReadonlyArray<{ readonly title: string; readonly expr: string }> =>
  read().panels.flatMap(({ targets, title }) => (targets ?? []).map(({ expr }) => ({ title, expr })))

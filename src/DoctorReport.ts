/** DoctorReport: findings for people and for programs. */
import pc from "picocolors"
import type { WorkerFinding } from "./doctor/Finding.ts"
import type { Finding } from "./ports/StateStore.ts"

export type Reported = Finding | WorkerFinding

export interface Section {
  /** Worker, store or bus; empty for what needs no heading. */
  readonly title: string
  readonly findings: ReadonlyArray<Reported>
}

type Level = WorkerFinding["level"]

const levelOf = (finding: Reported): Level =>
  "level" in finding ? finding.level : finding.fix === null ? "ok" : "fault"

const marks: Readonly<Record<Level, string>> = {
  ok: pc.green("ok  "),
  warning: pc.yellow("warn"),
  fault: pc.red("fix ")
}

/** Something does not work: a warning alone is none. */
export const isFaulty = (findings: ReadonlyArray<Reported>): boolean =>
  findings.some((finding) => levelOf(finding) === "fault")

const table = (findings: ReadonlyArray<Reported>): string => {
  const width = Math.max(...findings.map(({ what }) => what.length))
  return findings
    .map((finding) => {
      const code = "code" in finding && finding.code !== null ? `  ${pc.dim(`[${finding.code}]`)}` : ""
      const line = `${marks[levelOf(finding)]} ${finding.what.padEnd(width)}  ${finding.value}${code}`
      return finding.fix === null ? line : `${line}\n     ${" ".repeat(width)}  ${pc.yellow(finding.fix)}`
    })
    .join("\n")
}

/** Worker by worker, in the order they come; what is of none is the last. */
export const sectionsOf = (findings: ReadonlyArray<WorkerFinding>): ReadonlyArray<Section> =>
  [...Map.groupBy(findings, ({ worker }) => worker)].map(([title, findings]) => ({ title, findings }))

export const text = (sections: ReadonlyArray<Section>): string =>
  sections
    .map(({ findings, title }) => (title === "" ? table(findings) : `${pc.bold(title)}\n${table(findings)}`))
    .join("\n\n")

export const json = (sections: ReadonlyArray<Section>): string =>
  JSON.stringify(
    sections.flatMap(({ findings }) => findings),
    null,
    2
  )

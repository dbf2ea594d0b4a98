/** Findings: what an operator should know of the memory nodes and the fabric between. */
import { readFileSync } from "node:fs"
import type { Finding } from "../../ports/StateStore.ts"
import type { Address } from "./Address.ts"
import * as Asking from "./Asking.ts"
import type { FabricAddon } from "./Fabric.ts"
import type { Link } from "./Link.ts"
import type { Lookups } from "./Lookups.ts"

const askMs = 2_000

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
const us = (value: number): string => `${value.toFixed(value < 100 ? 1 : 0)} µs`

/** Of this process, as the kernel says it; null where it does not. */
const memlock = (): string | null => {
  try {
    const line = /^Max locked memory\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))
    return line === null ? null : line[1]!
  } catch {
    return null
  }
}

const libraryOf = (fabric: FabricAddon, library: string | null): Array<Finding> => {
  const from = library ?? "as the system finds it"
  try {
    const there = fabric.providers(library)
    const list = there
      .map(({ manualProgress, name, remoteReads }) => {
        const says = [remoteReads ? "reads" : "", manualProgress ? "by the processor" : ""].filter(
          (word) => word !== ""
        )
        return says.length === 0 ? name : `${name} (${says.join(" ")})`
      })
      .join(", ")
    const version = there[0]?.version ?? "unknown"
    return [
      { what: "libfabric", value: `${version}, ${from}`, fix: null },
      { what: "providers", value: list, fix: there.length === 0 ? "libfabric offers none: see fi_info" : null }
    ]
  } catch (error) {
    const fix = "Install libfabric, or name its folder with library="
    return [{ what: "libfabric", value: error instanceof Error ? error.message : String(error), fix }]
  }
}

const nodeOf = async (link: Link, lookups: Lookups, lookupMs: number): Promise<Array<Finding>> => {
  const what = `memory node ${link.name}`
  if (!link.isUp) {
    return [
      { what, value: link.why, fix: link.unusable?.fix ?? "Is it running? warmpath memory-node --listen host:port" }
    ]
  }
  const { endpoint, welcome } = link.session!
  const findings: Array<Finding> = [
    {
      what,
      value: `warmpath ${welcome.release}, ${welcome.provider}, libfabric ${welcome.version} there and ${endpoint.version} here`,
      fix: null
    }
  ]
  try {
    const { blocks, evicted, limitBytes, maxBytes, names, usedBytes } = await link.ask(
      { ask: "state" },
      Asking.State,
      askMs
    )
    findings.push({
      what: "memory",
      value: `${blocks} blocks of ${names} names in ${mib(usedBytes)} of ${mib(limitBytes)}, at most ${mib(maxBytes)}`,
      fix: evicted > 0 ? "It is full, and what was written longest ago goes: give it more with --max-size" : null
    })
    const probed = await lookups.probe(link)
    const latency =
      probed === null
        ? "it has nothing to look up yet"
        : `${us(probed.rpcUs)} asked, ${us(probed.readUs)} read; ${lookups.mode(link) === "read" ? "reads" : "asks"}`
    const isSlow = probed !== null && Math.min(probed.rpcUs, probed.readUs) > 1_000 * lookupMs
    findings.push({
      what: "lookup of a piece",
      value: latency,
      fix: isSlow ? `That is more than the ${lookupMs} ms that a lookup may take` : null
    })
    if (lookups.mode(link) === "read" && (endpoint.manualProgress || welcome.manualProgress)) {
      const fix = "Leave mode=auto: on this provider the node's processor does the reading"
      findings.push({ what: "mode", value: "read, as configured", fix })
    }
  } catch (error) {
    findings.push({ what, value: error instanceof Error ? error.message : String(error), fix: "See the node's log" })
  }
  return findings
}

export const all = async (
  fabric: FabricAddon,
  { library }: Address,
  links: ReadonlyArray<Link>,
  lookups: Lookups,
  lookupMs: number
): Promise<Array<Finding>> => {
  const locked = memlock()
  const limit: Array<Finding> = locked === null ? [] : [{ what: "locked memory", value: locked, fix: null }]
  const nodes = await Promise.all(links.map((link) => nodeOf(link, lookups, lookupMs)))
  return [...libraryOf(fabric, library), ...limit, ...nodes.flat()]
}

/** Address: `rdma://host:port[,host2:port2]?provider=auto&mode=auto|rpc|read&library=…`, taken apart. */

export const modes = ["auto", "rpc", "read"] as const
export type Mode = (typeof modes)[number]

export interface Address {
  readonly nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>
  readonly provider: string
  readonly mode: Mode
  readonly library: string | null
}

export const defaultPort = 7_600

/** What is wrong, as a text, where it is no such address. */
export const parse = (text: string): Address | string => {
  const match = /^rdma:\/\/([^/?#]+)\/?(?:\?([^#]*))?$/.exec(text)
  if (match === null) return "it is not of the form rdma://host:port,host2:port2?provider=auto&mode=auto"
  const nodes: Array<Address["nodes"][number]> = []
  for (const part of match[1]!.split(",")) {
    const at = URL.canParse(`tcp://${part}`) ? new URL(`tcp://${part}`) : null
    if (at === null || at.hostname === "" || at.username !== "" || at.pathname !== "")
      return `"${part}" is not host:port`
    nodes.push({ host: at.hostname.replace(/^\[|\]$/g, ""), port: at.port === "" ? defaultPort : Number(at.port) })
  }
  if (nodes.length > 2) return "it names more than two memory nodes"
  const query = new URLSearchParams(match[2] ?? "")
  for (const name of query.keys()) {
    if (!["provider", "mode", "library"].includes(name)) return `it has no option "${name}": provider, mode and library`
  }
  const mode = query.get("mode") ?? "auto"
  if (!modes.includes(mode as Mode)) return `mode "${mode}" is none of ${modes.join(", ")}`
  return { nodes, provider: query.get("provider") ?? "auto", mode: mode as Mode, library: query.get("library") }
}

/** Where a subscriber reaches a publisher of KV events, from what the publisher says it bound. */

const anyHost = /^tcp:\/\/(?:\*|0\.0\.0\.0|\[::\]|::)?:(\d+)$/

/** True when a publisher that bound this host listens on every interface. */
export const isAnyHost = (host: string): boolean => anyHost.test(`tcp://${host}:1`)

/** An address a subscriber can connect to: where the publisher bound every interface, `host`. Null when it is none. */
export const dialable = (endpoint: unknown, host: string): string | null => {
  if (typeof endpoint !== "string" || endpoint === "") return null
  const bound = anyHost.exec(endpoint)
  const address = bound === null ? endpoint : `tcp://${host}:${bound[1]}`
  if (address.startsWith("ipc://")) return address
  const port = /^tcp:\/\/.+:(\d+)$/.exec(address)?.[1]
  // Port 0 is a wish, not an address.
  return port === undefined || Number(port) === 0 || Number(port) > 65_535 ? null : address
}

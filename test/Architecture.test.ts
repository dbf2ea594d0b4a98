import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Which rooms a room may import besides itself. An edge not listed here needs a reason beside it. */
const allowed: Record<string, ReadonlyArray<string>> = {
  main: [
    "http",
    "actors",
    "hot",
    "domain",
    "ports",
    "adapters",
    "telemetry",
    "loadtest",
    "replay",
    "doctor",
    "top",
    "main"
  ],
  // A reader of the admin API, as a page is.
  top: ["domain"],
  // It goes where the router goes, by the router's own pieces: a check of copies would prove nothing.
  doctor: ["actors", "adapters", "http", "hot", "domain", "ports"],
  http: ["actors", "hot", "domain", "ports", "telemetry"],
  actors: ["hot", "domain", "ports", "telemetry"],
  adapters: ["hot", "domain", "ports", "telemetry"],
  // A build script: it obtains headers as tests obtain servers. Nothing imports it.
  native: ["loadtest"],
  telemetry: ["domain"],
  // It runs in a browser, and knows the router by what the admin API answers.
  page: ["domain"],
  ports: ["domain"],
  hot: ["domain"],
  domain: [],
  loadtest: ["domain"],
  // What is replayed is routed by the router's own pieces, not by copies of them.
  // Its command can send the same trace to a router that runs.
  replay: ["actors", "hot", "domain", "ports", "loadtest", "live"],
  // A live replay starts whole routers, with other ledgers in them.
  live: ["main", "actors", "loadtest", "replay"],
  micro: ["actors", "hot", "domain", "ports", "adapters", "http", "loadtest", "replay", "live"]
}

/** Vendor clients live in adapters only. */
const vendors = ["zeromq", "redis", "@nats-io/", "@msgpack/msgpack", "@huggingface/", "undici", "rotating-file-stream"]

const roomOf = (file: string): string => {
  const parts = relative(root, file).split("/")
  if (parts[0] === "actors") return "actors"
  if (parts[0] === "loadtest") {
    if (["micro", "judge", "replicas", "stores"].includes(parts[1]!) || file.endsWith(".bench.ts")) return "micro"
    if (parts[1] === "replay") return parts[2] === "live" ? "live" : "replay"
    return "loadtest"
  }
  if (file.includes("/rdma/native/")) return "native"
  return parts[0] === "src" && parts.length > 2 ? parts[1]! : "main"
}

const sources = ["src", "actors", "loadtest"].flatMap((dir) =>
  readdirSync(join(root, dir), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(root, dir, name))
)

const importsOf = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(file, "utf8")
  return [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^"'`;]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g
    )
  ].map((match) => (match[1] ?? match[2] ?? match[3])!)
}

const wrongEdges = (): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  for (const file of sources) {
    const room = roomOf(file)
    for (const target of importsOf(file)) {
      if (target.startsWith(".")) {
        const to = roomOf(resolve(dirname(file), target))
        if (to !== room && !allowed[room]?.includes(to)) wrong.push(`${relative(root, file)} imports ${to}: ${target}`)
        continue
      }
      if (room === "hot" && !target.startsWith("node:"))
        wrong.push(`${relative(root, file)} imports a package: ${target}`)
      if (room === "domain" && target !== "effect") wrong.push(`${relative(root, file)} imports a package: ${target}`)
      if (
        !["adapters", "loadtest", "live", "micro"].includes(room) &&
        vendors.some((vendor) => target.startsWith(vendor))
      ) {
        wrong.push(`${relative(root, file)} imports a vendor client: ${target}`)
      }
    }
  }
  return wrong
}

describe("Architecture", () => {
  it("has no import that the rooms do not allow", () => {
    expect(sources.length).toBeGreaterThan(10)
    expect(wrongEdges()).toEqual([])
  })

  it("keeps the clock and Effect out of the hot room", () => {
    const offenders = sources
      .filter((file) => roomOf(file) === "hot")
      .filter((file) => /\bDate\.now\(|performance\.now\(|from "effect/.test(readFileSync(file, "utf8")))
    expect(offenders.map((file) => relative(root, file))).toEqual([])
  })

  it("has only the prescribed entries at the top", () => {
    const entries = readdirSync(root).filter(
      (name) => !name.startsWith(".") && !["node_modules", "dist"].includes(name)
    )
    const prescribed = [
      "package.json",
      "package-lock.json",
      "tsconfig.json",
      "src",
      "actors",
      "loadtest",
      "test",
      "README.md",
      "docker-compose.yml",
      "LICENSE",
      "NOTICE"
    ]
    expect(entries.filter((name) => !prescribed.includes(name))).toEqual([])
  })
})

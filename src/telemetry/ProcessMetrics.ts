/**
 * The process: CPU, memory, garbage collection and the event loop, read when scraped. Names as Prometheus' clients have them
 * (`process_…`), else as OpenTelemetry has them for Node and V8.
 *
 * The event loop and the collector are watched once for the process, whichever router asks.
 */
import { constants, monitorEventLoopDelay, PerformanceObserver, performance } from "node:perf_hooks"
import { counter, type Described, gauge } from "./Described.ts"
import type { Counter, Registry } from "./Metrics.ts"

const counters = {
  cpu: counter("process_cpu_seconds_total", "CPU time of the process, all its threads, user and system"),
  loop: counter("nodejs_eventloop_time_seconds_total", "Time that the event loop worked, or waited", [
    "nodejs_eventloop_state"
  ]),
  gc: counter("v8js_gc_duration_seconds_total", "Time spent collecting garbage", ["v8js_gc_type"])
}
const gauges = {
  start: gauge("process_start_time_seconds", "When it began, seconds since the epoch"),
  resident: gauge("process_resident_memory_bytes", "Resident memory"),
  heap: gauge("v8js_memory_heap_used_bytes", "Used heap of JavaScript's objects"),
  external: gauge(
    "nodejs_external_memory_bytes",
    "Memory outside the heap that JavaScript's objects hold: tables, buffers"
  ),
  delayP50: gauge("nodejs_eventloop_delay_p50_seconds", "How late timers were, median of the last ten seconds or more"),
  delayP99: gauge("nodejs_eventloop_delay_p99_seconds", "The same, 99th percentile"),
  delayMax: gauge("nodejs_eventloop_delay_max_seconds", "The same, the longest")
}

export const described: ReadonlyArray<Described> = [...Object.values(counters), ...Object.values(gauges)]

/** Of a timer that finds out how late it is; each firing counts. */
const resolutionMs = 20
/** Several may read: each sees at least so much time, and nobody takes it from the others. */
const windowMs = 10_000

const gcKinds: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: "minor",
  [constants.NODE_PERFORMANCE_GC_MAJOR]: "major",
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: "incremental",
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: "weakcb"
}

interface Delay {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

interface Watch {
  /** Seconds. */
  readonly delay: () => Delay
  /** ms by kind, since the watch began. */
  readonly gcMs: Readonly<Record<string, number>>
}

type LoopDelay = ReturnType<typeof monitorEventLoopDelay>

/** Nanoseconds between two firings, to seconds late. */
const late = (ns: number): number => Math.max(0, ns / 1e9 - resolutionMs / 1_000)

const begin = (): Watch => {
  const gcMs: Record<string, number> = Object.fromEntries(Object.values(gcKinds).map((kind) => [kind, 0]))
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = gcKinds[(entry as unknown as { readonly detail: { readonly kind: number } }).detail.kind]
      if (kind !== undefined) gcMs[kind]! += entry.duration
    }
  }).observe({ entryTypes: ["gc"] })
  const windows: [LoopDelay, LoopDelay] = [
    monitorEventLoopDelay({ resolution: resolutionMs }),
    monitorEventLoopDelay({ resolution: resolutionMs })
  ]
  for (const each of windows) each.enable()
  let turnedMs = performance.now()
  return {
    gcMs,
    // Two windows that overlap: the older is shown, and begins anew once the younger is old enough.
    delay: () => {
      if (performance.now() - turnedMs >= windowMs) {
        turnedMs = performance.now()
        windows.reverse()
        windows[1].reset()
      }
      const [shown] = windows
      return shown.count === 0
        ? { p50: 0, p99: 0, max: 0 }
        : { p50: late(shown.percentile(50)), p99: late(shown.percentile(99)), max: late(shown.max) }
    }
  }
}

let shared: Watch | null = null

/** Takes a counter to a total that somebody else keeps, and that only grows. */
const follower = (handle: Counter): ((total: number) => void) => {
  let told = 0
  return (total) => {
    handle.add(Math.max(0, total - told))
    told = Math.max(told, total)
  }
}

export const make = (registry: Registry): void => {
  shared ??= begin()
  const watch = shared
  const cpu = follower(registry.counter(counters.cpu, {}))
  const loop = (state: string) => follower(registry.counter(counters.loop, { nodejs_eventloop_state: state }))
  const [active, idle] = [loop("active"), loop("idle")]
  const gc = Object.keys(watch.gcMs).map((kind) => ({
    ...{ kind, follow: follower(registry.counter(counters.gc, { v8js_gc_type: kind })) }
  }))
  const levels = Object.fromEntries(
    Object.entries(gauges).map(([key, each]) => [key, registry.gauge(each, {})])
  ) as Record<keyof typeof gauges, ReturnType<Registry["gauge"]>>
  registry.onScrape(() => {
    const { system, user } = process.cpuUsage()
    cpu((user + system) / 1e6)
    const utilization = performance.eventLoopUtilization()
    active(utilization.active / 1_000)
    idle(utilization.idle / 1_000)
    for (const { follow, kind } of gc) follow(watch.gcMs[kind]! / 1_000)
    const { external, heapUsed, rss } = process.memoryUsage()
    levels.start.set(performance.timeOrigin / 1_000)
    levels.resident.set(rss)
    levels.heap.set(heapUsed)
    levels.external.set(external)
    const { max, p50, p99 } = watch.delay()
    levels.delayP50.set(p50)
    levels.delayP99.set(p99)
    levels.delayMax.set(max)
  })
}

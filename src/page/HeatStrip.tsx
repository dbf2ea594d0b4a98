/** A large fleet at a glance: a cell for each worker, the fuller the longer a new request would wait there. */
import { useEffect, useRef, useState } from "preact/hooks"
import type { LiveWorker } from "../domain/Live.ts"
import { go, linkTo } from "./Place.ts"
import { colour, repaint } from "./Theme.ts"
import { count, duration, states } from "./Words.ts"

const gap = 2
/** A wait that counts as full. */
const fullMs = 4_000

/** Of the cells, in pixels. */
const sizeFor = (workers: number): number => (workers > 400 ? 10 : workers > 120 ? 14 : 18)

const level = ({ waitMs }: LiveWorker): number => Math.min(1, Math.sqrt(waitMs / fullMs))

export const HeatStrip = ({ workers }: { workers: ReadonlyArray<LiveWorker> }) => {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  const [over, setOver] = useState<LiveWorker | null>(null)
  const size = sizeFor(workers.length)
  const across = Math.max(1, Math.floor((width + gap) / (size + gap)))
  const height = Math.ceil(workers.length / across) * (size + gap)
  useEffect(() => {
    const resized = new ResizeObserver(() => setWidth(canvas.current!.parentElement!.clientWidth))
    resized.observe(canvas.current!.parentElement!)
    return () => resized.disconnect()
  }, [])
  useEffect(() => {
    const scale = window.devicePixelRatio
    const { current } = canvas
    current!.width = width * scale
    current!.height = height * scale
    const draw = current!.getContext("2d")!
    const [line, full, bad] = [colour("line"), colour("wait"), colour("bad")]
    draw.scale(scale, scale)
    for (const [i, worker] of workers.entries()) {
      const [x, y] = [(i % across) * (size + gap), Math.floor(i / across) * (size + gap)]
      draw.fillStyle = line
      draw.fillRect(x, y, size, size)
      if (states[worker.state]?.tone === "bad") {
        draw.strokeStyle = bad
        draw.lineWidth = 2
        draw.beginPath()
        draw.moveTo(x + 2, y + 2)
        draw.lineTo(x + size - 2, y + size - 2)
        draw.moveTo(x + size - 2, y + 2)
        draw.lineTo(x + 2, y + size - 2)
        draw.stroke()
        continue
      }
      // By its height: colour alone would say nothing to some.
      const filled = Math.round(size * level(worker))
      draw.fillStyle = full
      draw.fillRect(x, y + size - filled, size, filled)
    }
  }, [workers, width, repaint.value])
  const at = ({ offsetX, offsetY }: MouseEvent): LiveWorker | null =>
    workers[Math.floor(offsetY / (size + gap)) * across + Math.floor(offsetX / (size + gap))] ?? null
  const busiest = workers.reduce((most, each) => (each.waitMs > most.waitMs ? each : most))
  const out = workers.filter(({ state }) => states[state]?.tone === "bad").length
  const words = `${count(workers.length)} workers. Longest wait ${duration(busiest.waitMs)}, at ${busiest.id}. ${count(out)} open.`
  return (
    <div class="heat">
      <div>
        <canvas
          ref={canvas}
          role="img"
          aria-label={words}
          style={{ width: `${width}px`, height: `${height}px` }}
          onMouseMove={(event) => setOver(at(event))}
          onMouseLeave={() => setOver(null)}
          onClick={(event) => {
            const worker = at(event)
            if (worker !== null) go(linkTo("workers", worker.id))
          }}
        />
      </div>
      <p class="quiet small">
        {over === null
          ? `Height: wait for a new request, up to ${duration(fullMs)}. ✕: takes no work.`
          : `${over.id}: ${over.state}, ${duration(over.waitMs)} to wait, ${count(over.queued)} queued, ${count(over.active)} active`}
      </p>
    </div>
  )
}

/** Labels: names written beside their curves, where there is room. */
import { escaped, number, plot } from "./Chart.ts"

export interface Curve {
  readonly name: string
  readonly style: string
  readonly points: ReadonlyArray<Point>
}

type Point = readonly [x: number, y: number]

interface Box {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

/** Width of a letter, on average; a label's height; how near no other curve may be, lest the name seem to be its. */
const letter = 7
const high = 13
const clear = 12

/**
 * Near: beside the curve, or not at all. Far: otherwise joined to it by a thin line as long as one of `distances`.
 * Curves given first choose first; `among` are all that are drawn.
 */
export const near = [7]
export const far = [7, 24, 48, 80, 120, 170]

export const beside = (
  curves: ReadonlyArray<Curve>,
  among: ReadonlyArray<Curve>,
  distances: ReadonlyArray<number>
): string => {
  const points = new Map(among.map((curve) => [curve, filled(curve.points)]))
  const all = [...points.values()].flat()
  const boxes: Array<Box> = []
  const texts: Array<string> = []
  for (const curve of curves) {
    const others = [...points].flatMap(([other, filled]) => (other === curve ? [] : filled))
    const free = (at: Point, box: Box) =>
      inside(box, plot) &&
      !boxes.some((other) => meet(box, other) || meet(lineTo(at, box), other)) &&
      !all.some((point) => holds(box, point, 2)) &&
      !others.some((point) => holds(box, point, clear))
    const place = distances.flatMap((distance) => first(points.get(curve) ?? [], curve.name, distance, free))[0]
    if (place === undefined) continue
    const { at, box } = place
    boxes.push(box, lineTo(at, box))
    const [x, y] = at
    if (Math.max(x - box.right, box.left - x) > near[0]! + 1) {
      const end = box.right < x ? box.right + 3 : box.left - 3
      texts.push(`<path class="line leader ${curve.style}" d="M${number(x)} ${number(y)}H${number(end)}"/>`)
    }
    texts.push(
      `<text class="direct ${curve.style}" x="${number(box.left)}" y="${number(box.bottom - 3)}">${escaped(curve.name)}</text>`
    )
  }
  return texts.join("\n")
}

/** Where the name may be so far from the curve, the nearer to its middle the better; above or below it only when near. */
const first = (
  points: ReadonlyArray<Point>,
  name: string,
  distance: number,
  free: (at: Point, box: Box) => boolean
) => {
  const wide = name.length * letter
  const middle = (points.length - 1) / 2
  const order = points.map((at, i) => [Math.abs(i - middle), at] as const).sort((a, b) => a[0] - b[0])
  for (const [, at] of order) {
    const [x, y] = at
    const lines = { top: y - high / 2, bottom: y + high / 2 }
    const before = { left: x - distance - wide, right: x - distance, ...lines }
    if (free(at, before)) return [{ at, box: before }]
    const after = { left: x + distance, right: x + distance + wide, ...lines }
    if (free(at, after)) return [{ at, box: after }]
    if (distance > near[0]!) continue
    const centred = { left: x - wide / 2, right: x + wide / 2 }
    for (const top of [y - high - 4, y + 4]) {
      const box = { ...centred, top, bottom: top + high }
      if (free(at, box)) return [{ at, box }]
    }
  }
  return []
}

const lineTo = ([x, y]: Point, box: Box): Box => ({
  left: Math.min(x, box.right),
  right: Math.max(x, box.left),
  top: y - 2,
  bottom: y + 2
})

const inside = (box: Box, room: Box): boolean =>
  box.left >= room.left && box.right <= room.right && box.top >= room.top && box.bottom <= room.bottom

const meet = (a: Box, b: Box): boolean => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom

const holds = (box: Box, [x, y]: Point, margin: number): boolean =>
  x > box.left - margin && x < box.right + margin && y > box.top - margin / 4 && y < box.bottom + margin / 4

/** Points no more than a few units apart. */
const filled = (points: ReadonlyArray<Point>): ReadonlyArray<Point> =>
  points.flatMap(([x, y], i): ReadonlyArray<Point> => {
    const next = points[i + 1]
    if (next === undefined) return [[x, y]]
    const parts = Math.max(1, Math.ceil(Math.hypot(next[0] - x, next[1] - y) / 4))
    return Array.from({ length: parts }, (_, part) => {
      const share = part / parts
      return [x + (next[0] - x) * share, y + (next[1] - y) * share] as const
    })
  })

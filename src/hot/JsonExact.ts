/**
 * JsonExact: which JSON a JavaScript program can hand to a chat template as a Python program would.
 *
 * Python keeps `1.0` a float, integers of any size, and every key in its place; JavaScript does not. Numbers of
 * another size print in another notation (1e-05). Such a prompt cannot be rendered exactly here.
 */

const quote = 0x22
const backslash = 0x5c

/** True when Python's JSON prints this float as JavaScript does. */
const printsAlike = (value: number): boolean => Math.abs(value) >= 1e-4 && Math.abs(value) < 1e16

/**
 * True when JSON text holds a number that JavaScript cannot give back as Python would. Numbers at a nesting depth
 * below `depthMin` do not count. The text must be valid JSON. O(length); strings are skipped, not read.
 */
export const isLossy = (json: string, depthMin: number): boolean => {
  let depth = 0
  for (let i = 0; i < json.length; i++) {
    const char = json.charCodeAt(i)
    if (char === quote) {
      for (;;) {
        i = json.indexOf('"', i + 1)
        if (i === -1) return false
        let slashes = 0
        while (json.charCodeAt(i - 1 - slashes) === backslash) slashes++
        if ((slashes & 1) === 0) break
      }
    } else if (char === 0x7b || char === 0x5b) depth++
    else if (char === 0x7d || char === 0x5d) depth--
    else if (char === 0x2d || (char >= 0x30 && char <= 0x39)) {
      const from = i
      let isFloat = false
      for (i++; i < json.length; i++) {
        const next = json.charCodeAt(i)
        if (next === 0x2e || next === 0x65 || next === 0x45) isFloat = true
        else if (next !== 0x2b && next !== 0x2d && !(next >= 0x30 && next <= 0x39)) break
      }
      if (depth >= depthMin) {
        const value = Number(json.slice(from, i))
        if (isFloat ? Number.isInteger(value) || !printsAlike(value) : !Number.isSafeInteger(value)) return true
      }
      i--
    }
  }
  return false
}

/** JavaScript moves keys that look like array indices to the front. */
const isIndex = (key: string): boolean => {
  const first = key.charCodeAt(0)
  return first >= 0x30 && first <= 0x39 && String(Number(key) >>> 0) === key
}

/** Deeper values are not looked into: recursion has an end, and so do Python's printer and ours. */
const depthMax = 200

/** True when a parsed value prints as Python's would, as far as the value itself can tell (`1.0` it cannot). */
export const isPlain = (value: unknown): boolean => isPlainAt(value, 0)

const isPlainAt = (value: unknown, depth: number): boolean => {
  if (typeof value === "number") return Number.isInteger(value) ? Number.isSafeInteger(value) : printsAlike(value)
  if (typeof value !== "object" || value === null) return true
  if (depth === depthMax) return false
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlainAt(value[i], depth + 1)) return false
    return true
  }
  const keys = Object.keys(value)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    if (keys.length > 1 && isIndex(key)) return false
    if (!isPlainAt((value as Record<string, unknown>)[key], depth + 1)) return false
  }
  return true
}

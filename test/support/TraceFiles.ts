/** Small traces as text, as their formats have them; always the same. */
import * as Random from "../../loadtest/Random.ts"

/** Conversations of a few turns that share a system prompt, as Mooncake writes them. */
export const arrivals = (): string => {
  const random = Random.make(1)
  let id = 100
  const lines: Array<{ readonly timestamp: number }> = []
  for (let chat = 0; chat < 60; chat++) {
    const blocks = [0, 1]
    let timestamp = random() * 200_000
    for (let turn = 0; turn < 4; turn++, timestamp += 10_000 + random() * 20_000) {
      for (let more = 0; more < 6; more++) blocks.push(id++)
      const shape = { input_length: blocks.length * 512, output_length: 20 + Math.floor(random() * 100) }
      lines.push({ timestamp: Math.floor(timestamp), ...shape, ...{ hash_ids: [...blocks] } })
    }
  }
  lines.sort((a, b) => a.timestamp - b.timestamp)
  return lines.map((line) => JSON.stringify(line)).join("\n")
}

/** Coding sessions that grow turn by turn. */
export const sessions = (): string => {
  const lines = Array.from({ length: 12 }, (_, session) =>
    Array.from({ length: 10 }, (_, turn) => {
      const blocks = 40 + 8 * turn
      return JSON.stringify({
        ...{ session: `s${session}`, agent: "main", turn, timestamp: turn * 5_000 },
        ...{ input_length: blocks * 64, output_length: 50, hash_ids_rle: [[session * 1_000, blocks]] },
        ...{ tool_tokens: 512, system_tokens: 1_024, think_ms: 3_000, api_ms: 2_000 }
      })
    })
  )
  return lines.flat().join("\n")
}

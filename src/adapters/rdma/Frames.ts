/** Frames: JSON over a TCP socket, each after its length in four bytes. Only for the few words with which a peer begins. */
import type { Socket } from "node:net"

const frameBytesMax = 65_536

export const send = (socket: Socket, value: unknown): void => {
  const body = Buffer.from(JSON.stringify(value))
  const frame = Buffer.alloc(4 + body.length)
  frame.writeUInt32LE(body.length)
  body.copy(frame, 4)
  socket.write(frame)
}

/** Calls with each value that comes; `broken` once, when what comes is none. */
export const receive = (socket: Socket, take: (value: unknown) => void, broken: (why: string) => void): void => {
  let rest: Buffer = Buffer.alloc(0)
  let isBroken = false
  const fail = (why: string) => {
    isBroken = true
    broken(why)
  }
  socket.on("data", (chunk: Buffer) => {
    if (isBroken) return
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 4 && !isBroken) {
      const length = rest.readUInt32LE(0)
      if (length > frameBytesMax) return fail("a frame of it is too long: it is no memory node, or no router")
      if (rest.length < 4 + length) return
      const body = rest.subarray(4, 4 + length)
      rest = rest.subarray(4 + length)
      let value: unknown
      try {
        value = JSON.parse(body.toString())
      } catch {
        return fail("what it said is no JSON: it is no memory node, or no router")
      }
      take(value)
    }
  })
}

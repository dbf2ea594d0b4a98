/**
 * Calls: the script's calls on one connection: as Functions, which Redis keeps and replicates, else by EVALSHA, where Redis
 * is older than 7 or does not let us load them.
 */
import type { Argument, Connection, Reply } from "./Connect.ts"
import * as Failure from "./Failure.ts"
import * as Script from "./Script.ts"

export interface Calls {
  /** Null with Functions, else why not. */
  readonly why: string | null
  /** Keys are of one slot. */
  readonly call: (call: Script.Call, keys: ReadonlyArray<string>, args: ReadonlyArray<Argument>) => Promise<Reply>
}

const load = async ({ primaries }: Connection): Promise<void> => {
  const loaded = primaries().map((send) =>
    send(["FUNCTION", "LOAD", Script.library]).catch((error) => {
      // Another router was first.
      if (!/already exists/.test(Failure.wordsOf(error))) throw error
    })
  )
  await Promise.all(loaded)
}

const byFunction = (connection: Connection): Calls["call"] => {
  /** One load for all calls that found it missing. */
  let loading: Promise<void> | null = null
  return async (call, keys, args) => {
    const send = () =>
      connection.send(keys[0]!, ["FCALL", Script.functionName(call), String(keys.length), ...keys, ...args])
    return send().catch(async (error) => {
      if (!Failure.isUnknownFunction(error)) throw error
      loading ??= load(connection).finally(() => {
        loading = null
      })
      await loading
      return send()
    })
  }
}

const byScript =
  (connection: Connection): Calls["call"] =>
  async (call, keys, args) => {
    const { sha, text } = Script.evals[call]
    const send = (how: string, body: string) =>
      connection.send(keys[0]!, [how, body, String(keys.length), ...keys, ...args])
    return send("EVALSHA", sha).catch((error) => {
      if (Failure.wordOf(error) !== "NOSCRIPT") throw error
      return send("EVAL", text)
    })
  }

/** Whichever the server takes, tried on a key that is of no piece. */
export const make = async (connection: Connection, keys: ReadonlyArray<string>): Promise<Calls> => {
  const call = byFunction(connection)
  try {
    await call("write", keys, [])
    return { call, why: null }
  } catch (error) {
    if (!Failure.isForbidden(error) && !Failure.isUnknownCommand(error)) throw error
    const scripts = byScript(connection)
    await scripts("write", keys, [])
    return { call: scripts, why: Failure.wordsOf(error) }
  }
}

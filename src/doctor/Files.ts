/** Files: tokenizers of folders on this machine, each loaded once however many workers serve its model; closed with the scope. */
import { Effect, type Scope } from "effect"
import * as LocalTokenizer from "../adapters/tokenizer/LocalTokenizer.ts"

/** What is wrong with the files, when they cannot be used. Never rejects. */
export type Files = (dir: string) => Promise<LocalTokenizer.LocalTokenizer | Error>

export const make: Effect.Effect<Files, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new Map<string, ReturnType<Files>>()),
  (loaded) =>
    Effect.promise(async () => {
      const all = await Promise.all(loaded.values())
      await Promise.all(all.map((one) => (one instanceof Error ? undefined : one.close())))
    })
).pipe(
  Effect.map((loaded) => (dir) => {
    const known = loaded.get(dir)
    if (known !== undefined) return known
    const found = LocalTokenizer.load(dir).catch((cause: unknown) =>
      cause instanceof Error ? cause : new Error(String(cause))
    )
    loaded.set(dir, found)
    return found
  })
)

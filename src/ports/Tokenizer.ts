/**
 * Tokenizer: from a prompt to the token ids the engine will compute, exact or not at all.
 *
 * Real: a local `tokenizer.json` with its chat template, or the engine's own `/tokenize`. When neither can answer the
 * caller falls back to text blocks.
 */
import type { Prompt } from "../domain/Request.ts"

export interface Tokenizer {
  /**
   * Token ids of the prompt. Synchronous when cheap (short, or mostly cached); a promise when the work leaves the event
   * loop. Null when this prompt cannot be rendered exactly here (images, a template that refuses): the caller goes on
   * to the next source. Never throws, never rejects.
   */
  readonly encode: (prompt: Prompt) => Uint32Array | null | Promise<Uint32Array | null>
  readonly close: () => Promise<void>
}

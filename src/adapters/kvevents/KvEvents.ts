/**
 * KV-event payloads of every engine dialect (vLLM, SGLang, TensorRT-LLM): MessagePack bytes to an `EngineBatch`.
 *
 * The scanner reads the form that engines send all day; a library reads the rest, event by event. What either makes of
 * the same bytes is the same.
 */
import type { EngineBatch } from "../../domain/KvEvent.ts"
import { decodeGeneric } from "./KvGeneric.ts"
import { scan } from "./KvScan.ts"

/** One payload. Throws a TypeError on bytes that are no batch at all; whatever is wrong inside one costs an event. */
export const decode = (payload: Uint8Array): EngineBatch => scan(payload) ?? decodeGeneric(payload)

/** The JSON an engine answers with: whole answers and stream chunks, field for field as vLLM writes them. */
import type { Json } from "./Model.ts"
import type { Plan } from "./Plan.ts"

export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly cachedTokens: number
}

/** What one choice came to. */
export interface Choice {
  readonly text: string
  readonly ids: ReadonlyArray<number>
  readonly finish: "stop" | "length"
}

/** `details` adds where the prompt's KV came from; false says that this is not told. */
export const usage = ({ promptTokens, completionTokens, cachedTokens }: Usage, details?: boolean): Json => ({
  prompt_tokens: promptTokens,
  total_tokens: promptTokens + completionTokens,
  completion_tokens: completionTokens,
  ...(details === undefined ? {} : { prompt_tokens_details: details ? { cached_tokens: cachedTokens } : null })
})

export const whole = (plan: Plan, id: string, created: number, choices: ReadonlyArray<Choice>, sum: Json): Json =>
  plan.endpoint === "chat"
    ? {
        id,
        object: "chat.completion",
        created,
        model: plan.model,
        choices: choices.map((choice, index) => ({
          index,
          message: {
            role: "assistant",
            content: choice.text,
            refusal: null,
            annotations: null,
            audio: null,
            function_call: null,
            tool_calls: [],
            reasoning: null
          },
          logprobs: null,
          finish_reason: choice.finish,
          stop_reason: null,
          token_ids: plan.returnTokenIds ? choice.ids : null
        })),
        service_tier: null,
        system_fingerprint: null,
        usage: sum,
        prompt_logprobs: null,
        prompt_token_ids: plan.returnTokenIds ? plan.prompts[0] : null,
        kv_transfer_params: null
      }
    : {
        id,
        object: "text_completion",
        created,
        model: plan.model,
        choices: choices.map((choice, index) => ({
          index,
          text: choice.text,
          logprobs: null,
          finish_reason: choice.finish,
          stop_reason: null,
          token_ids: plan.returnTokenIds ? choice.ids : null,
          prompt_logprobs: null,
          prompt_token_ids: plan.returnTokenIds ? plan.prompts[index] : null
        })),
        service_tier: null,
        system_fingerprint: null,
        usage: sum,
        kv_transfer_params: null
      }

/** Tokens of one choice. `first` when its first is among them. */
export interface Piece {
  readonly index: number
  readonly text: string
  readonly ids: ReadonlyArray<number>
  readonly first: boolean
  readonly finish: "stop" | "length" | null
}

export const head = (plan: Plan, id: string, created: number): Json => ({
  id,
  object: plan.endpoint === "chat" ? "chat.completion.chunk" : "text_completion",
  created,
  model: plan.model
})

/** The chunk that comes before a chat choice's first token: its role, and no text. */
export const role = (plan: Plan, head: Json, index: number): Json => ({
  ...head,
  choices: [{ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }],
  prompt_token_ids: plan.returnTokenIds ? plan.prompts[index] : null
})

export const chunk = (plan: Plan, head: Json, piece: Piece): Json => {
  const ending = piece.finish === null ? {} : { stop_reason: null }
  const ids = plan.returnTokenIds ? piece.ids : null
  return {
    ...head,
    choices: [
      plan.endpoint === "chat"
        ? {
            index: piece.index,
            delta: { content: piece.text },
            logprobs: null,
            finish_reason: piece.finish,
            ...ending,
            token_ids: ids
          }
        : {
            index: piece.index,
            text: piece.text,
            logprobs: null,
            finish_reason: piece.finish,
            stop_reason: null,
            prompt_token_ids: piece.first && plan.returnTokenIds ? plan.prompts[piece.index] : null,
            token_ids: ids
          }
    ]
  }
}

/**
 * Workload: the words shared by every kind of traffic.
 *
 * A session is a closed loop: its next request is made from the answer to the last one, as the engine really gave it. A
 * workload only makes request bodies; pacing is the driver's.
 */

export const labels = ["agent", "rag", "chat"] as const
/** The kind of traffic a request belongs to; results are kept apart by it. */
export type Label = (typeof labels)[number]

export interface ToolCall {
  readonly id: string
  readonly type: "function"
  readonly function: { readonly name: string; readonly arguments: string }
}

export type Message =
  | { readonly role: "system" | "user"; readonly content: string }
  | { readonly role: "assistant"; readonly content: string; readonly tool_calls?: ReadonlyArray<ToolCall> }
  | { readonly role: "tool"; readonly tool_call_id: string; readonly content: string }

export interface Tool {
  readonly type: "function"
  readonly function: {
    readonly name: string
    readonly description: string
    readonly parameters: Readonly<Record<string, unknown>>
  }
}

/** The body of `POST /v1/chat/completions`. */
export interface ChatRequest {
  readonly model: string
  readonly messages: ReadonlyArray<Message>
  readonly tools?: ReadonlyArray<Tool>
  readonly max_tokens: number
  readonly temperature: number
  readonly stream: true
  readonly stream_options: { readonly include_usage: true }
}

export interface Session {
  /** Unique within one plan, for example `agent-3`. */
  readonly id: string
  readonly label: Label
  /** How many requests the session makes. */
  readonly turns: number
  /** The first request when `answer` is null, else the one that follows it. Null when the session is over. */
  readonly next: (answer: string | null) => ChatRequest | null
}

/** A streaming request for `messages`, greedy so that a run can be repeated. */
export const request = (
  model: string,
  maxTokens: number,
  messages: ReadonlyArray<Message>,
  tools?: ReadonlyArray<Tool>
): ChatRequest => ({
  model,
  messages,
  ...(tools === undefined ? {} : { tools }),
  max_tokens: maxTokens,
  temperature: 0,
  stream: true,
  stream_options: { include_usage: true }
})

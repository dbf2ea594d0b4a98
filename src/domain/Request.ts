/** Words about one request, after `receive` and before `place`. */

export type Endpoint = "chat" | "completions"

/** One prompt, in the form the client sent it. */
export type Prompt =
  /** `lossyNumbers`: the body's text held a number that JSON.parse changed (1.0, 2^60) where a template may print it. */
  | { readonly _tag: "Messages"; readonly body: ChatBody; readonly lossyNumbers?: boolean }
  | { readonly _tag: "Text"; readonly text: string; readonly addSpecialTokens: boolean }
  | { readonly _tag: "Tokens"; readonly ids: Uint32Array }

/** The fields of a chat body that enter the prompt. Everything else is forwarded unread. */
export interface ChatBody {
  readonly messages: ReadonlyArray<Readonly<Record<string, unknown>>>
  readonly tools?: ReadonlyArray<unknown> | null
  readonly tool_choice?: unknown
  readonly documents?: ReadonlyArray<unknown> | null
  readonly add_generation_prompt?: boolean
  readonly continue_final_message?: boolean
  readonly add_special_tokens?: boolean
  readonly chat_template?: string | null
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>> | null
  readonly reasoning_effort?: string | null
}

export interface RouteRequest {
  readonly id: string
  readonly endpoint: Endpoint
  /** As the client named it; may be an alias or an adapter. */
  readonly model: string
  readonly prompts: ReadonlyArray<Prompt>
  /** Answers asked for: `n` for each prompt. */
  readonly choices: number
  readonly stream: boolean
  readonly salt: string | null
  /** Most tokens the client will take, or null when it did not say. */
  readonly maxTokens: number | null
  /**
   * Whether the client gets usage: `asked` for a stream that asked for it and for every whole answer, `absent` for a
   * stream without `stream_options`, `off` for one whose `stream_options` say no.
   */
  readonly usage: "asked" | "absent" | "off"
  readonly priority: number | null
  /** The engine is to report in its events all blocks of this prompt, those it already held included (vLLM). */
  readonly reportsFull: boolean
}

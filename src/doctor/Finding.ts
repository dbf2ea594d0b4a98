/**
 * What the doctor finds of workers. A problem has a code, by which scripts and tests tell it; the table below is all there are.
 *
 * `fault`: requests fail, or are placed by a picture that is wrong. `warning`: it works, and worse than it could.
 */
import type { Finding } from "../ports/StateStore.ts"

export type Level = "ok" | "warning" | "fault"

export interface WorkerFinding extends Finding {
  /** Id of the worker; `fleet` for what is of several, `nats` for the bus. */
  readonly worker: string
  readonly level: Level
  /** Null when all is well. */
  readonly code: Code | null
}

/** By engine, how the start of it is changed; `other` for the rest. */
type Fix =
  | string
  | { readonly vllm?: string; readonly sglang?: string; readonly trtllm?: string; readonly other: string }

const problem = (level: Exclude<Level, "ok">, fix: Fix) => ({ level, fix })

const eventsConfig = `'{"publisher": "zmq", "endpoint": "tcp://*:5557", "replay_endpoint": "tcp://*:5657"}'`
const vllmEvents =
  `--kv-events-config '{"enable_kv_cache_events": true, "publisher": "zmq", "endpoint": "tcp://*:5557", ` +
  `"replay_endpoint": "tcp://*:5657"}'`
const named =
  "name its sockets in the configuration: events: {endpoint: tcp://HOST:5557, replayEndpoint: tcp://HOST:5657}"

const problems = {
  unreachable: problem(
    "fault",
    "Start the engine, or correct the address; look for a firewall between here and there."
  ),
  "url-path": problem("fault", "Give the address without the path: http://host:port; the router adds /v1 itself."),
  "not-an-engine": problem("fault", "Is it still loading a model? Else give the address of an OpenAI-like server."),
  "api-key": problem("fault", "Give the worker the apiKey its engine was started with: workers: [{url, apiKey}]."),
  "probe-refused": problem(
    "fault",
    "The engine does not serve what the router would forward: see what it says, and its log."
  ),
  balancer: problem(
    "fault",
    "Several engines answer there: give the router each engine's own address, not that of a Service or a balancer."
  ),
  "prefix-caching-off": problem("fault", {
    vllm: "Start vLLM without --no-enable-prefix-caching. If it is on: check usage and the event endpoint.",
    sglang:
      "Start SGLang without --disable-radix-cache. If it is on: add --enable-cache-report, and check the event endpoint.",
    trtllm: "Set kv_cache_config: {enable_block_reuse: true}. If it is on: check usage and the event endpoint.",
    other: "Turn the engine's prefix cache on. If it is on: have it report cached_tokens, and check the event endpoint."
  }),
  "usage-details": problem("warning", {
    vllm: "Add --enable-prompt-tokens-details: without it nothing corrects what the router believes of the cache.",
    sglang: "Add --enable-cache-report: without it nothing corrects what the router believes of the cache.",
    other:
      "Have usage say prompt_tokens_details.cached_tokens, by which the router's picture of the cache is corrected."
  }),
  "events-off": problem("warning", {
    vllm: `Add ${vllmEvents}; where it is on and this vLLM has no /kv_event_sources, ${named}.`,
    sglang: `Add --kv-events-config ${eventsConfig}.`,
    trtllm: `Give kv_cache_config an event_buffer_max_size and kv_events_config a publisher, then ${named}.`,
    other: `If the engine publishes KV events, ${named}; else the router goes on with a model of its cache.`
  }),
  "events-unreachable": problem(
    "fault",
    "Nobody listens there. Open the port, or correct it; the engine must bind it: with vLLM an endpoint without `*` connects."
  ),
  "events-topic": problem(
    "fault",
    "Events come under another topic: leave `topic` out of the worker's events, or correct it."
  ),
  "events-crossed": problem("fault", "These are another engine's events: give each worker the endpoint of its own."),
  "events-silent": problem("fault", "Is it this engine's endpoint, and does its publisher run? See the engine's log."),
  "events-unreadable": problem(
    "fault",
    "The payload is no KV event of a known form: see whose port it is, and its version."
  ),
  "events-incomplete": problem(
    "fault",
    "Blocks were cached that no event told of: look for drops (hwm) and for gaps below."
  ),
  "no-replay": problem("warning", {
    trtllm: "Give it a replay endpoint and name it as replayEndpoint: without, a lost event costs the whole picture.",
    other: 'Add "replay_endpoint": "tcp://*:5657" to its events: without, a lost event costs the whole picture.'
  }),
  "replay-silent": problem(
    "warning",
    "Open the replay port, or correct it: without it a lost event costs the whole picture."
  ),
  "block-size": problem(
    "warning",
    "Start it with the block size it uses: until its first event the router counts wrongly."
  ),
  "tokenizer-missing": problem(
    "warning",
    "Name a folder with tokenizer.json: --tokenizer MODEL=DIR; else prompts are matched by text."
  ),
  "tokenizer-files": problem("warning", "Correct the folder given with --tokenizer, or leave it out."),
  tokenizer: problem(
    "fault",
    "These are another model's files: give --tokenizer MODEL=DIR the folder the engine loaded."
  ),
  "chat-template": problem(
    "fault",
    "The engine renders chats by another template: put the one it uses (--chat-template) into that folder as chat_template.jinja."
  ),
  "salt-ignored": problem(
    "warning",
    "It shares its cache between salts: use a version that knows cache_salt, or do not count on it to keep clients apart."
  ),
  "salt-added": problem(
    "fault",
    "Something adds a cache_salt to every prompt: take that out, or have clients send it through the router."
  ),
  clock: problem("warning", "Set its clock (NTP): times in traces and logs of engine and router do not agree."),
  "model-names": problem(
    "warning",
    "Serve a model under one name (--served-model-name): requests go only to workers that have theirs."
  ),
  alias: problem("fault", "Correct modelAliases: clients that ask for it are answered 404."),
  "max-model-len": problem(
    "warning",
    "Start workers of one model with the same --max-model-len: the shortest counts for all."
  ),
  "nats-away": problem(
    "fault",
    "Start nats-server, or correct the address and credentials; routers serve on their own meanwhile."
  ),
  "nats-version": problem("fault", "Update nats-server."),
  "nats-jetstream": problem("fault", "Start nats-server with -js, or enable JetStream for this account."),
  "nats-rights": problem(
    "fault",
    "Give this user the permissions in src/adapters/nats/README.md, with this deployment's name."
  ),
  "nats-layout": problem("fault", "Give all routers the same settings, or remove the stream: it is made anew.")
} as const

export type Code = keyof typeof problems

const fixOf = (fix: Fix, engine: string): string =>
  typeof fix === "string" ? fix : (fix[engine as "vllm" | "sglang" | "trtllm"] ?? fix.other)

export const well = (worker: string, what: string, value: string): WorkerFinding => ({
  worker,
  level: "ok",
  code: null,
  what,
  value,
  fix: null
})

/** `level`: where it is not what the table says. */
export const wrong = (
  worker: string,
  code: Code,
  what: string,
  value: string,
  engine = "other",
  level: Level = problems[code].level
): WorkerFinding => ({ worker, level, code, what, value, fix: fixOf(problems[code].fix, engine) })

/**
 * Agent: coding-agent sessions. A long system prompt and JSON tools that all sessions of a product share, then turn after
 * turn of tool call and tool result with real file contents.
 *
 * Each request repeats everything before it: the messages of the last one, the engine's answer, and one new tool result.
 * That is what makes agents live or die by the prefix cache. A sub-agent is a short session that shares system prompt and
 * tools with its parent and nothing else.
 */
import * as Corpus from "./Corpus.ts"
import * as Random from "./Random.ts"
import type { Message, Session, Tool } from "./Workload.ts"
import { request } from "./Workload.ts"

const parameters = (properties: Readonly<Record<string, unknown>>, required: ReadonlyArray<string>) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false
})

const path = { type: "string", description: "Path of the file, relative to the root of the repository." }

/** The tools every coding agent has, in the shape of the OpenAI API. */
export const tools: ReadonlyArray<Tool> = [
  {
    type: "function",
    function: {
      name: "read_file",
      description:
        "Reads part of a text file. Returns at most 400 lines; ask again with a larger offset for what follows. Prefer one read of a large range over many small ones.",
      parameters: parameters(
        { path, offset: { type: "integer", description: "First line, counted from 1." }, limit: { type: "integer" } },
        ["path"]
      )
    }
  },
  {
    type: "function",
    function: {
      name: "search",
      description:
        "Searches the repository with a regular expression and returns matching lines with their file and line number.",
      parameters: parameters(
        {
          pattern: { type: "string" },
          glob: { type: "string", description: "Only files that match, such as **/*.ts." }
        },
        ["pattern"]
      )
    }
  },
  {
    type: "function",
    function: {
      name: "edit_file",
      description: "Replaces one exact, unique occurrence of a text in a file. Fails when it occurs never or twice.",
      parameters: parameters({ path, before: { type: "string" }, after: { type: "string" } }, [
        "path",
        "before",
        "after"
      ])
    }
  },
  {
    type: "function",
    function: {
      name: "run",
      description: "Runs a shell command in the repository and returns exit code, standard output and standard error.",
      parameters: parameters({ command: { type: "string" }, timeoutSeconds: { type: "integer", default: 120 } }, [
        "command"
      ])
    }
  }
]

/** Agent products: each its own system prompt, with a project's guide in it, as agents do with AGENTS.md. */
const products = [
  { name: "Weaver", trade: "a maintainer of a TypeScript library for concurrent programs" },
  { name: "Tern", trade: "a reviewer of HTTP client code who looks for leaks, races and missing cancellation" },
  { name: "Quill", trade: "a writer of tests who covers boundaries before happy paths" },
  { name: "Anvil", trade: "a performance engineer who measures before changing anything" }
]
export const productCount = products.length

/** How much of a project's guide the system prompt carries. */
const guideChars = 1_400

const systemPrompt = (corpus: Corpus.Corpus, product: number): string => {
  const { name, trade } = products[product % products.length]!
  const guide = corpus.prose[product % corpus.prose.length]!
  return [
    `You are ${name}, ${trade}. You work in a checkout through tools until the task is done.`,
    "Read before you edit. Make the smallest change that is correct. Run the tests after every edit. Never invent a file, a function or a result: look it up. When a tool fails, say what you learnt and try another way. Answer in plain sentences, and name files with their line numbers.",
    `The project's guide (${guide.name}) follows.`,
    Corpus.head(guide.text, guideChars)
  ].join("\n\n")
}

const errands = [
  "Find out why cancellation leaves work behind here, and fix the cause.",
  "Document every exported function whose behaviour at the limits is not obvious.",
  "Replace the slowest part of this module and show that results stay the same.",
  "Split this module in two along its natural seam without changing its exports.",
  "Trace how an error travels from here to the caller and make its message useful."
]

export interface AgentOptions {
  readonly corpus: Corpus.Corpus
  readonly model: string
  readonly seed: number
  readonly id: string
  /** Which product's system prompt; sessions with the same number share it. */
  readonly product: number
  readonly turns: number
  /** Files attached to the task. */
  readonly attached: number
  /** Least and most characters of one attached file or tool result. */
  readonly fileChars: readonly [number, number]
  readonly answerTokens: number
}

export const make = (options: AgentOptions): Session => {
  const { corpus, id, model } = options
  const random = Random.make(options.seed, id)
  const target = Random.pick(random, corpus.code)

  /** Some lines of a file, from a place drawn at random. */
  const excerpt = (document: Corpus.Document) => {
    const chars = Random.between(random, options.fileChars[0], options.fileChars[1])
    const at = Random.between(random, 0, Math.max(0, document.text.length - chars))
    const from = document.text.lastIndexOf("\n", at) + 1
    const text = Corpus.head(document.text.slice(from), chars)
    return { path: document.name, text, offset: document.text.slice(0, from).split("\n").length }
  }

  const files = Array.from({ length: options.attached }, (_, i) =>
    excerpt(i === 0 ? target : Random.pick(random, corpus.code))
  )
  let messages: ReadonlyArray<Message> = [
    { role: "system", content: systemPrompt(corpus, options.product) },
    {
      role: "user",
      content: [
        `${Random.pick(random, errands)} Start with ${target.name}. Attached is what I have open.`,
        ...files.map((file) => `<file path="${file.path}" offset="${file.offset}">\n${file.text}\n</file>`)
      ].join("\n\n")
    }
  ]
  let turn = 0

  /** One tool call and its result: some lines of a real file. */
  const act = (answer: string): ReadonlyArray<Message> => {
    const { offset, path, text } = excerpt(turn % 3 === 1 ? target : Random.pick(random, corpus.code))
    const call = `call_${id}_${turn}`.replaceAll("-", "_")
    const args = JSON.stringify({ path, offset, limit: text.split("\n").length })
    return [
      {
        role: "assistant",
        content: answer,
        tool_calls: [{ id: call, type: "function", function: { name: "read_file", arguments: args } }]
      },
      { role: "tool", tool_call_id: call, content: text }
    ]
  }

  return {
    id,
    label: "agent",
    turns: options.turns,
    next: (answer) => {
      if (turn === options.turns) return null
      if (turn > 0) messages = [...messages, ...act(answer ?? "")]
      turn++
      return request(model, options.answerTokens, messages, tools)
    }
  }
}

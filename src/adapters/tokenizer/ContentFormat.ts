/**
 * ContentFormat: whether a chat template walks through a message's content or prints it as one string.
 *
 * Follows vLLM's detection, its blind spots included, since the prompt depends on the answer: a loop over the content
 * of what a loop over `messages` yields (vllm-project/vllm `renderers/hf.py`, _detect_content_format).
 */
import type { parse } from "@huggingface/jinja"
import type { ContentFormat } from "./Messages.ts"

type Node = Readonly<Record<string, unknown>> & { readonly type: string }

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string"

const collect = (value: unknown, type: string, out: Array<Node>): Array<Node> => {
  if (Array.isArray(value)) for (const each of value) collect(each, type, out)
  else if (value instanceof Map) collect([...value].flat(), type, out)
  else if (isNode(value)) {
    if (value.type === type) out.push(value)
    for (const each of Object.values(value)) if (typeof each === "object") collect(each, type, out)
  }
  return out
}

const isName = (node: unknown, name: string): boolean =>
  isNode(node) && node.type === "Identifier" && node["value"] === name

/** `name`, `name[a:b]`, `name | filter`, or, with a key, `name.key` and `name["key"]` likewise. */
const reads = (node: unknown, name: string, key: string | null): boolean => {
  if (!isNode(node)) return false
  if (node.type === "FilterExpression" || node.type === "TestExpression") return reads(node["operand"], name, key)
  if (node.type !== "MemberExpression") return key === null && isName(node, name)
  const property = node["property"] as Node
  if (property.type === "SliceExpression") return reads(node["object"], name, key)
  const literal = property.type === (node["computed"] === true ? "StringLiteral" : "Identifier")
  return key !== null && literal && property["value"] === key && isName(node["object"], name)
}

/** Names a loop binds when it runs over something `isSource` accepts; null when it binds more than one name. */
const loopNames = (loops: ReadonlyArray<Node>, isSource: (node: unknown) => boolean): Array<string> | null => {
  const names: Array<string> = []
  for (const loop of loops) {
    const iterable = loop["iterable"] as Node
    if (!isSource(iterable.type === "SelectExpression" ? iterable["lhs"] : iterable)) continue
    const target = loop["loopvar"] as Node
    if (target.type !== "Identifier") return null
    names.push(target["value"] as string)
  }
  return names
}

/** Every name a template mentions: its variables, and words that merely look like one. */
export const namesIn = (program: ReturnType<typeof parse>): ReadonlySet<string> =>
  new Set(collect(program.body, "Identifier", []).map((node) => node["value"] as string))

export const detect = (program: ReturnType<typeof parse>): ContentFormat => {
  const assignments = collect(program.body, "Set", [])
  const lists = ["messages"]
  for (const name of lists) {
    for (const { assignee, value } of assignments) {
      if (!reads(value, name, null)) continue
      const target = assignee as Node
      if (target.type !== "Identifier") return "string"
      const assigned = target["value"] as string
      if (!lists.includes(assigned)) lists.push(assigned)
    }
  }
  const loops = collect(program.body, "For", [])
  const messages = loopNames(loops, (node) => lists.some((name) => reads(node, name, null)))
  if (messages === null) return "string"
  const contents = loopNames(loops, (node) => messages.some((name) => reads(node, name, "content")))
  return contents !== null && contents.length > 0 ? "parts" : "string"
}

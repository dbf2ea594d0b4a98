/** Asking: the questions that are asked seldom, as JSON: who enters, settles and leaves, who there is, and how the node is. */
import { Schema } from "effect"
import type { NodeTable } from "../../hot/NodeTable.ts"
import { tenureMax } from "../../hot/PieceNode.ts"

const Name = Schema.NonEmptyString.check(Schema.isMaxLength(1_024))
const Tenure = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: tenureMax }))

export const Question = Schema.Union([
  /** The node's next number, or `atLeast`, whichever is more: with two nodes both must give the same. */
  Schema.Struct({ ask: Schema.Literal("enter"), name: Name, atLeast: Tenure }),
  Schema.Struct({ ask: Schema.Literal("settle"), name: Name, tenure: Tenure }),
  Schema.Struct({ ask: Schema.Literal("leave"), name: Name, tenure: Tenure }),
  /** From a slot on. */
  Schema.Struct({
    ask: Schema.Literal("names"),
    from: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4_096 }))
  }),
  Schema.Struct({ ask: Schema.Literal("state") })
])
export type Question = typeof Question.Type

export const Entered = Schema.Struct({ tenure: Schema.NullOr(Tenure) })
export const Settled = Schema.Struct({ settled: Schema.Boolean })
export const Left = Schema.Struct({ left: Schema.Boolean })
export const Names = Schema.Struct({
  slotVersion: Schema.Int,
  version: Schema.Int,
  names: Schema.Array(Schema.Struct({ slot: Schema.Int, name: Schema.String, tenures: Schema.Array(Schema.Int) })),
  /** Null: that was all. */
  next: Schema.NullOr(Schema.Int)
})
export const State = Schema.Struct({
  blocks: Schema.Int,
  records: Schema.Int,
  names: Schema.Int,
  usedBytes: Schema.Int,
  limitBytes: Schema.Int,
  maxBytes: Schema.Int,
  evicted: Schema.Int,
  refused: Schema.Int
})
export type State = typeof State.Type

/** Of names in one answer: those that have room in a message even when each is as long as can be. */
const namesBytes = 65_536

const isQuestion = Schema.is(Question)

export const stateOf = ({ blocks, hands, index, names, pages, refused }: NodeTable): State => ({
  blocks,
  records: index.count,
  names: names.size,
  usedBytes: pages.used * 65_536,
  limitBytes: pages.limit * 65_536,
  maxBytes: pages.pagesMax * 65_536,
  evicted: hands.evicted,
  refused
})

const namesOf = ({ names }: NodeTable, from: number): typeof Names.Type => {
  const some: Array<{ readonly slot: number; readonly name: string; readonly tenures: ReadonlyArray<number> }> = []
  let bytes = 0
  let slot = from
  for (; slot < 4_096 && bytes < namesBytes; slot++) {
    const entered = names.at(slot)
    if (entered === null) continue
    some.push({ slot, name: entered.name, tenures: entered.tenures })
    bytes += 64 + 6 * entered.name.length + 11 * entered.tenures.length
  }
  return { slotVersion: names.slotVersion, version: names.version, names: some, next: slot < 4_096 ? slot : null }
}

/** Null for what is no question. */
export const answer = (table: NodeTable, question: unknown, nowS: number): object | null => {
  if (!isQuestion(question)) return null
  const { names } = table
  if (question.ask === "names") return namesOf(table, question.from)
  if (question.ask === "state") return stateOf(table)
  const done = (): object => {
    if (question.ask === "enter") return { tenure: names.enter(question.name, question.atLeast, nowS) }
    if (question.ask === "settle") return { settled: names.settle(question.name, question.tenure) }
    names.leave(question.name, question.tenure)
    return { left: true }
  }
  const answer = done()
  table.publish()
  return answer
}

/** One generating HTTP request under way: its prompts in the scheduler, and what has been answered so far. */
import type { EngineCore, EngineTask } from "./EngineCore.ts"
import type { Said } from "./EngineSpans.ts"
import type { Json, Model } from "./Model.ts"
import type { Plan } from "./Plan.ts"
import * as Replies from "./Replies.ts"
import type { Reply } from "./Reply.ts"
import type { SimOptions } from "./SimOptions.ts"
import type { Answer, Speech } from "./Speech.ts"

interface Saying {
  readonly answer: Answer
  /** Null while it is being submitted. */
  task: EngineTask | null
  generated: number
  /** Of these, streamed. */
  sent: number
  cachedTokens: number
  firstTokenAt: number
}

export class Generating {
  readonly #core: EngineCore
  readonly #reportCached: boolean
  readonly #omitsZero: boolean
  readonly #streamInterval: number
  readonly #plan: Plan
  readonly #id: string
  readonly #reply: Reply
  readonly #created = Math.floor(Date.now() / 1000)
  readonly #said: ((said: Said) => void) | null
  readonly #sayings: Array<Saying> = []
  #open: number

  constructor(
    engine: { readonly options: SimOptions; readonly speech: Speech; readonly model: Model },
    core: EngineCore,
    plan: Plan,
    id: string,
    reply: Reply,
    said: ((said: Said) => void) | null = null
  ) {
    this.#core = core
    this.#reportCached = engine.options.reportCached
    // It tells of what it found, or says nothing.
    this.#omitsZero = engine.options.dialect === "sglang"
    this.#streamInterval = engine.options.streamInterval
    this.#plan = plan
    this.#id = id
    this.#reply = reply
    this.#said = said
    this.#open = plan.prompts.length
    if (plan.stream) reply.stream()
    for (const [index, prompt] of plan.prompts.entries()) {
      const answer = engine.speech.answer(prompt, {
        seed: engine.options.seed + plan.seed,
        min: plan.minTokens,
        mean: engine.options.outputTokens,
        max: plan.maxTokens[index]!,
        ignoreEos: plan.ignoreEos
      })
      const saying: Saying = { answer, task: null, generated: 0, sent: 0, cachedTokens: 0, firstTokenAt: Number.NaN }
      this.#sayings.push(saying)
      // Steps that are due come first, so tokens of an earlier prompt may arrive during this call.
      saying.task = core.submit({
        prompt,
        output: answer.ids,
        lora: plan.lora,
        salt: plan.salt,
        pictures: index === 0 ? plan.pictures : [],
        priority: plan.priority,
        reportsAll: plan.reportsAll,
        onToken: (generated, cachedTokens) => this.#token(index, generated, cachedTokens)
      })
    }
  }

  /** Takes what is left of it out of the engine. */
  abort(): void {
    for (const { task } of this.#sayings) if (task !== null) this.#core.abort(task)
  }

  #token(index: number, generated: number, cachedTokens: number): void {
    const saying = this.#sayings[index]!
    const { answer } = saying
    saying.generated = generated
    saying.cachedTokens = cachedTokens
    if (generated === 1) saying.firstTokenAt = performance.now()
    const last = generated === answer.ids.length
    const finish = last ? this.#finish(answer) : null
    if (last) {
      this.#open--
      this.#tell(index, saying)
      if (answer.stops) this.#core.counters.stopped++
      else this.#core.counters.lengthened++
    }
    if (!this.#plan.stream) {
      if (this.#open === 0) this.#answerWhole()
      return
    }
    // The first token leaves at once, and so does the last.
    if (generated > 1 && !last && generated - saying.sent < this.#streamInterval) return
    const head = Replies.head(this.#plan, this.#id, this.#created)
    if (generated === 1 && this.#plan.endpoint === "chat") this.#send(Replies.role(this.#plan, head, index))
    this.#send(
      Replies.chunk(this.#plan, head, {
        index,
        text: answer.texts.slice(saying.sent, generated).join(""),
        ids: answer.ids.slice(saying.sent, generated),
        first: generated === 1,
        finish
      })
    )
    saying.sent = generated
    if (this.#open > 0) return
    if (this.#plan.includeUsage) {
      this.#reply.event({ ...head, choices: [], usage: this.#usage() })
    }
    this.#reply.done()
  }

  #tell(index: number, { answer, firstTokenAt, task }: Saying): void {
    if (this.#said === null || task === null) return
    const { maxTokens, model, prompts } = this.#plan
    const { admittedAt, queuedAt } = task
    this.#said({
      id: prompts.length === 1 ? this.#id : `${this.#id}-${index}`,
      model,
      promptTokens: prompts[index]!.length,
      completionTokens: answer.ids.length,
      maxTokens: maxTokens[index]!,
      ...{ queuedAt, admittedAt, firstTokenAt, endAt: performance.now() }
    })
  }

  #send(chunk: Record<string, unknown>): void {
    this.#reply.event(this.#plan.continuousUsage ? { ...chunk, usage: Replies.usage(this.#sum(), undefined) } : chunk)
  }

  #finish(answer: Answer): "stop" | "length" {
    return answer.stops ? "stop" : "length"
  }

  #sum(): Replies.Usage {
    const sum = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 }
    for (const [i, saying] of this.#sayings.entries()) {
      sum.promptTokens += this.#plan.prompts[i]!.length
      sum.completionTokens += saying.generated
      sum.cachedTokens += saying.cachedTokens
    }
    return sum
  }

  #answerWhole(): void {
    const choices = this.#sayings.map(({ answer }) => ({
      text: answer.texts.join(""),
      ids: answer.ids,
      finish: this.#finish(answer)
    }))
    this.#reply.json(200, Replies.whole(this.#plan, this.#id, this.#created, choices, this.#usage()))
  }

  #usage(): Json {
    const sum = this.#sum()
    return Replies.usage(sum, this.#reportCached && (sum.cachedTokens > 0 || !this.#omitsZero))
  }
}

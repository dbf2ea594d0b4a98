/**
 * What a simulated engine says: words of the prompt and common words, in sentences, always the same for one prompt.
 *
 * The text is made of units that the tokenizer cuts apart again at the same places, so an answer that comes back in the
 * next turn has the ids it was generated with. A few units are not ASCII and some of those are several tokens, whose
 * text comes with the last one, as an engine holds back half a character. An answer cut inside such a unit lacks it.
 */

import * as Random from "../Random.ts"
import type { Model } from "./Model.ts"

export interface Answer {
  readonly ids: ReadonlyArray<number>
  /** `texts[i]` is what token i adds to the text. */
  readonly texts: ReadonlyArray<string>
  /** True when the answer ends by itself: its last id is the end token, which has no text. */
  readonly stops: boolean
}

export interface Speech {
  /**
   * The answer to a prompt: as long as it likes (at least `min`, about `mean` tokens), but at most `max`. With
   * `ignoreEos` exactly `max`.
   */
  readonly answer: (prompt: ArrayLike<number>, want: Want) => Answer
}

export interface Want {
  readonly seed: number
  readonly min: number
  readonly mean: number
  readonly max: number
  readonly ignoreEos: boolean
}

interface Unit {
  readonly ids: ReadonlyArray<number>
  readonly text: string
}

const openings = ["The", "This", "That", "We", "It", "In", "When", "So", "Here", "First"]
const common =
  "the of and to in is that it for as with on be at by this from or an are was but not have had which one you all we can there their more if will would about up out so said what its into than them only other time new some could these two may then do first any my now such like our over man me even most made after also did many before must through years where much your way well down should because each just those people how too little state good very make world still see own work long get here between both life being under never day same another know while last might us great old year off come since against go came right used take three".split(
    " "
  )
const rare = [" 東京", " café", " naïve", " über", " 🙂", " привет", " Ελλάδα", " ☀", " 数据", " 안녕"]

export const make = (model: Model): Speech => {
  const unit = (text: string): Unit => ({ ids: model.encode(text, false), text })
  const single = (text: string): Unit | undefined => {
    const made = unit(text)
    return made.ids.length === 1 ? made : undefined
  }
  const starts = openings.map(unit)
  const sentences = openings.map((word) => unit(` ${word}`))
  const words = common.map((word) => single(` ${word}`)).filter((made) => made !== undefined)
  const rares = rare.map(unit)
  const stop = unit(".")
  /** By id: the unit of a prompt token that is a word by itself, null when it is none. */
  const known = new Map<number, Unit | null>()
  const wordOf = (id: number): Unit | null => {
    let found = known.get(id)
    if (found === undefined) {
      const letters = /^[Ġ▁ ]([a-z]{2,14})$/.exec(model.piece(id) ?? "")?.[1]
      const made = letters === undefined ? undefined : single(` ${letters}`)
      found = made?.ids[0] === id ? made : null
      known.set(id, found)
    }
    return found
  }

  return {
    answer: (prompt, want) => {
      const random = Random.make(Random.mix(want.seed, prompt))
      const pick = <A>(from: ReadonlyArray<A>): A => from[Math.floor(random() * from.length)]!
      // Exponential about the mean, from the same stream as the words.
      const own = Math.max(want.min, 1, Math.round(-Math.log(1 - random()) * want.mean))
      const length = want.ignoreEos ? want.max : Math.min(own, want.max)
      const ids: Array<number> = []
      const texts: Array<string> = []
      const say = ({ ids: part, text }: Unit) => {
        for (let i = 0; i < part.length; i++) {
          ids.push(part[i]!)
          texts.push(i === part.length - 1 ? text : "")
        }
      }
      let left = 0
      while (ids.length < length) {
        if (left === 0) {
          if (ids.length > 0) say(stop)
          say(ids.length === 0 ? pick(starts) : pick(sentences))
          left = 6 + Math.floor(random() * 12)
          continue
        }
        left--
        const heard = prompt.length > 0 && random() < 0.7 ? wordOf(prompt[Math.floor(random() * prompt.length)]!) : null
        say(random() < 0.02 ? pick(rares) : (heard ?? pick(words)))
      }
      // A last unit of several tokens may have overrun; then there is no room left for an end.
      const end = model.eosId === null ? 0 : 1
      const stops = !want.ignoreEos && own < want.max && ids.length + end <= want.max
      if (!stops) return { ids: ids.slice(0, want.max), texts: texts.slice(0, want.max), stops: false }
      if (end === 1) {
        ids.push(model.eosId!)
        texts.push("")
      }
      return { ids, texts, stops: true }
    }
  }
}

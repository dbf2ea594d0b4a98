/** Variants: weights of the cost other than those there are, by name. */
import { nearest } from "../../../src/domain/Explain.ts"
import { weights } from "../../../src/hot/Weights.ts"
import { Refused } from "../Prepare.ts"

export type Weights = typeof weights

export interface Variant {
  readonly name: string
  readonly weights: Partial<Weights>
}

const names = Object.keys(weights) as ReadonlyArray<keyof Weights>

/** Each term left out, and counted twice. */
export const usual = (): ReadonlyArray<Variant> =>
  names.flatMap((name) => [
    { name: `without ${name}`, weights: { [name]: 0 } },
    { name: `${name} doubled`, weights: { [name]: 2 * weights[name] } }
  ])

/** `basePrice=2,decode=0.1`. Throws `Refused`. */
export const parse = (text: string): Variant => {
  const parts = text.split(",").map((part) => {
    const [name = "", value = "", ...rest] = part.trim().split("=")
    const known = names.find((each) => each === name)
    if (known === undefined) throw new Refused(`--weights ${text}: ${unknown(name)}`)
    if (!/^\d+(\.\d+)?(e-?\d+)?$/.test(value) || rest.length > 0) {
      throw new Refused(`--weights ${text}: ${known} is a number from 0 up, ${known}=${weights[known]} as it is now.`)
    }
    return [known, Number(value)] as const
  })
  return { name: text, weights: Object.fromEntries(parts) }
}

const unknown = (name: string): string => {
  const close = nearest(name, names)
  // `price` is near to none of three, and part of all.
  const parts = names.filter((each) => name !== "" && each.toLowerCase().includes(name.toLowerCase()))
  const meant = parts.length > 0 ? parts.join(" or ") : close
  return `there is no weight "${name}"${meant === undefined ? "." : `; did you mean ${meant}?`} There are ${now()}.`
}

/** All of them as they are, `basePrice=0.5, …`. */
export const now = (): string => names.map((name) => `${name}=${weights[name]}`).join(", ")

/** What `make` answers under those weights. The usual ones are there again afterwards. */
export const under = <A>(changed: Partial<Weights>, make: () => A): A => {
  const before = { ...weights }
  Object.assign(weights, changed)
  try {
    return make()
  } finally {
    Object.assign(weights, before)
  }
}

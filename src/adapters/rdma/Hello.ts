/**
 * Hello: how a router and a memory node begin, over TCP: who they are, whether they may, and where each is on the fabric.
 *
 * The connection stays open and silent: when it closes, the peer is gone.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { Schema } from "effect"
import { layoutVersion } from "../../hot/NodeLayout.ts"
import { wireVersion } from "./Wire.ts"

const Text = Schema.String.check(Schema.isMaxLength(4_096))

/** The router's first words. */
export const Hello = Schema.Struct({
  layout: Schema.Int,
  wire: Schema.Int,
  token: Text,
  /** As resolved: `tcp;ofi_rxm`. */
  provider: Text,
  /** Of libfabric. */
  version: Text,
  /** On the fabric, base64. */
  address: Text
})
export type Hello = typeof Hello.Type

/** What the node answers to those it takes. */
export const Welcome = Schema.Struct({
  session: Schema.Int,
  provider: Text,
  version: Text,
  address: Text,
  manualProgress: Schema.Boolean,
  /** Of its memory, for remote reads; 64-bit numbers as text. */
  region: Schema.Struct({ key: Text, base: Text }),
  generation: Schema.String.check(Schema.isPattern(/^[0-9a-f]{16}$/)),
  /** Seconds since 1970 at which this life began. */
  bornS: Schema.Int,
  release: Text
})
export type Welcome = typeof Welcome.Type

/** And to others: why not, and what to do. */
export const Refusal = Schema.Struct({
  refused: Text,
  code: Text,
  fix: Text
})
export type Refusal = typeof Refusal.Type

export const isHello = Schema.is(Hello)
export const isWelcome = Schema.is(Welcome)
export const isRefusal = Schema.is(Refusal)

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Takes as long for any token. */
const isToken = (token: string, of: string): boolean => timingSafeEqual(digest(token), digest(of))

/** Why a router is not taken; null when it is. */
export const refusalOf = (
  hello: Hello,
  own: { readonly token: string; readonly provider: string; readonly version: string }
): Refusal | null => {
  if (!isToken(hello.token, own.token)) {
    return {
      code: "ERR_RDMA_TOKEN",
      refused:
        hello.token === "" ? "the memory node wants a token, and none was given" : "the memory node has another token",
      fix: "Give the token of the node's --token-file as storeToken (WARMPATH_STORE_TOKEN)."
    }
  }
  if (hello.layout !== layoutVersion || hello.wire !== wireVersion) {
    return {
      code: "ERR_RDMA_LAYOUT",
      refused: `the memory node has layout ${layoutVersion} and protocol ${wireVersion}, the router layout ${hello.layout} and protocol ${hello.wire}`,
      fix: "Run routers and memory nodes of the same release of Warmpath."
    }
  }
  if (hello.provider !== own.provider) {
    return {
      code: "ERR_RDMA_PROVIDER",
      refused: `the memory node is on provider ${own.provider} (libfabric ${own.version}), the router on ${hello.provider} (libfabric ${hello.version})`,
      fix: "Name the same provider on both sides: --provider of the node, ?provider= of the store's address; libfabric of like version resolves it alike."
    }
  }
  return null
}

/** Who may use a NATS server in a test: keys, and the signed tokens of an operator, an account and a user. */
import { nkeys } from "@nats-io/transport-node"

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")
const textOf = (seed: Uint8Array): string => Buffer.from(seed).toString()

export interface UserKey {
  readonly publicKey: string
  readonly seed: string
}

export const userKey = (): UserKey => {
  const pair = nkeys.createUser()
  return { publicKey: pair.getPublicKey(), seed: textOf(pair.getSeed()) }
}

/** Source: nats-io/jwt, version 2. */
const token = (issuer: nkeys.KeyPair, subject: string, nats: object): string => {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { jti: subject, iat, iss: issuer.getPublicKey(), name: "test", sub: subject, nats }
  const body = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode(claims)}`
  return `${body}.${Buffer.from(issuer.sign(Buffer.from(body))).toString("base64url")}`
}

/** A server's configuration for an operator with one account, and the credentials file of its user. */
export const operator = (): { readonly config: string; readonly creds: string } => {
  const own = nkeys.createOperator()
  const [account, system, user] = [nkeys.createAccount(), nkeys.createAccount(), nkeys.createUser()]
  const none = { subs: -1, data: -1, payload: -1 }
  const limits = { ...none, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }
  const stores = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 }
  const accountToken = (key: nkeys.KeyPair, given: object) =>
    token(own, key.getPublicKey(), { limits: given, default_permissions: {}, type: "account", version: 2 })
  const preload = [
    `${account.getPublicKey()}: ${accountToken(account, { ...limits, ...stores })}`,
    `${system.getPublicKey()}: ${accountToken(system, limits)}`
  ]
  const userToken = token(account, user.getPublicKey(), { pub: {}, sub: {}, ...none, type: "user", version: 2 })
  return {
    config: [
      `operator: ${token(own, own.getPublicKey(), { type: "operator", version: 2 })}`,
      `system_account: ${system.getPublicKey()}`,
      `resolver: MEMORY`,
      `resolver_preload: {\n${preload.join("\n")}\n}`
    ].join("\n"),
    creds: [
      "-----BEGIN NATS USER JWT-----",
      userToken,
      "------END NATS USER JWT------",
      "",
      "-----BEGIN USER NKEY SEED-----",
      textOf(user.getSeed()),
      "------END USER NKEY SEED------",
      ""
    ].join("\n")
  }
}

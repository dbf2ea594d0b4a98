import { describe, expect, it } from "vitest"
import * as Address from "../../../src/adapters/redis/Address.ts"
import { versionProblem } from "../../../src/adapters/redis/Server.ts"

const parsed = (url: string): Address.Address => {
  const address = Address.parse(url)
  if (typeof address === "string") throw new Error(address)
  return address
}

describe("The address of a Redis", () => {
  it("is one server, with a user and a database, or without", () => {
    expect(parsed("redis://10.0.0.7")).toEqual({
      ...{ mode: "standalone", isTls: false, hosts: [{ host: "10.0.0.7", port: 6379 }], user: null, database: 0 },
      ...{ primary: null, shown: "redis://10.0.0.7" }
    })
    expect(parsed("rediss://warm%40path@cache.local:7000/3")).toMatchObject({
      ...{ isTls: true, hosts: [{ host: "cache.local", port: 7000 }], user: "warm@path", database: 3 }
    })
    expect(parsed("redis://[::1]:7000").hosts).toEqual([{ host: "::1", port: 7000 }])
  })

  it("is a cluster, or sentinels and what they call the primary", () => {
    expect(parsed("rediss-cluster://a:1,b,c:3")).toMatchObject({ mode: "cluster", isTls: true })
    expect(parsed("redis-cluster://a:1,b,c:3").hosts.map(({ port }) => port)).toEqual([1, 6379, 3])
    expect(parsed("redis-sentinel://me@a,b:7/main/2")).toMatchObject({
      ...{ mode: "sentinel", hosts: [{ port: 26379 }, { port: 7 }], user: "me", primary: "main", database: 2 }
    })
  })

  it.each([
    ["http://a", /form/],
    ["redis://", /form/],
    ["redis://a:b:c", /list of host:port/],
    ["redis://a:0", /list of host:port/],
    ["redis://a:99999", /list of host:port/],
    ["redis://a,b", /redis-cluster/],
    ["redis://me:secret@a", /password does not belong/],
    ["redis-cluster://a/1", /no numbered databases/],
    ["redis://a/x", /number of a database/],
    ["redis-sentinel://a", /primary's name/]
  ])("is not %s", (url, why) => {
    expect(Address.parse(url)).toMatch(why)
  })

  it("is shown without a password, even where one does not belong", () => {
    expect(Address.shown("redis://me:s3cret@a:1/2")).toBe("redis://me@a:1/2")
    expect(Address.shown("redis-sentinel://:s3cret@a,b/main")).toBe("redis-sentinel://@a,b/main")
  })
})

describe("A server's version", () => {
  it("is 6 or newer", () => {
    expect(versionProblem("5.0.14")).toMatch(/Redis 5.0.14 is too old: Warmpath needs 6.0/)
    for (const version of ["6.0.16", "7.0.15", "10.1.0", ""]) expect(versionProblem(version)).toBeNull()
  })
})

import { describe, expect, it } from "vitest"
import * as Address from "../../../src/adapters/rdma/Address.ts"

describe("The address of memory nodes", () => {
  it("names one or two, and how to reach them", () => {
    expect(Address.parse("rdma://10.0.0.7")).toEqual({
      nodes: [{ host: "10.0.0.7", port: 7_600 }],
      ...{ provider: "auto", mode: "auto", library: null }
    })
    expect(Address.parse("rdma://a:1,[fe80::1]:2/?provider=verbs&mode=read&library=/opt/lib")).toEqual({
      nodes: [
        { host: "a", port: 1 },
        { host: "fe80::1", port: 2 }
      ],
      ...{ provider: "verbs", mode: "read", library: "/opt/lib" }
    })
  })

  it.each([
    ["redis://a:1", /not of the form/],
    ["rdma://", /not of the form/],
    ["rdma://a:1,", /"" is not host:port/],
    ["rdma://a:99999", /"a:99999" is not host:port/],
    ["rdma://me@a:1", /"me@a:1" is not host:port/],
    ["rdma://a,b,c", /more than two/],
    ["rdma://a?mode=fast", /mode "fast" is none of auto, rpc, read/],
    ["rdma://a?token=x", /no option "token"/]
  ])("that is wrong is explained: %s", (text, why) => {
    expect(Address.parse(text)).toMatch(why)
  })
})

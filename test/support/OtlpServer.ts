/** A collector: takes traces and metrics by OTLP over HTTP (protobuf and JSON) and gRPC, and keeps them decoded. */
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { gunzipSync } from "node:zlib"
import * as grpc from "@grpc/grpc-js"
import { type GotMetric, type GotSpan, metricsOf, spansOf } from "./OtlpWire.ts"

export type { GotMetric, GotSpan } from "./OtlpWire.ts"

export interface OtlpServer {
  /** For `otlpEndpoint`: over HTTP, and gRPC. */
  readonly url: string
  readonly grpcUrl: string
  readonly spans: ReadonlyArray<GotSpan>
  /** Of the last export. */
  readonly metrics: ReadonlyArray<GotMetric>
  /** Of every request: path or method, content type, headers. */
  readonly requests: ReadonlyArray<{ readonly path: string; readonly headers: IncomingHttpHeaders }>
  /** Answers with this status from now on, and takes nothing; 200: it takes all. Over HTTP. */
  status: number
  readonly close: () => Promise<void>
}

const service = (name: string, take: (bytes: Buffer, metadata: grpc.Metadata) => void) => ({
  definition: {
    Export: {
      path: `/opentelemetry.proto.collector.${name}/Export`,
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => bytes,
      requestSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes
    }
  },
  handlers: {
    Export: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      take(call.request, call.metadata)
      done(null, Buffer.alloc(0))
    }
  }
})

export const start = async (port = 0): Promise<OtlpServer> => {
  const spans: Array<GotSpan> = []
  const requests: Array<{ readonly path: string; readonly headers: IncomingHttpHeaders }> = []
  const got = { metrics: [] as ReadonlyArray<GotMetric>, status: 200 }
  const take = (path: string, headers: IncomingHttpHeaders, bytes: Buffer, isJson: boolean): void => {
    requests.push({ path, headers })
    if (/trace/i.test(path)) spans.push(...spansOf(bytes, isJson))
    else got.metrics = metricsOf(bytes, isJson)
  }
  const http = createServer(async (request, response) => {
    const chunks: Array<Buffer> = []
    for await (const chunk of request) chunks.push(chunk)
    const isJson = request.headers["content-type"] === "application/json"
    if (got.status !== 200) {
      response.writeHead(got.status).end()
      return
    }
    const body = Buffer.concat(chunks)
    const bytes = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body
    take(request.url ?? "", request.headers, bytes, isJson)
    response.writeHead(200, { "content-type": isJson ? "application/json" : "application/x-protobuf" })
    response.end(isJson ? "{}" : "")
  })
  await new Promise<void>((resolve) => http.listen(port, "127.0.0.1", resolve))
  const rpc = new grpc.Server()
  for (const name of ["trace.v1.TraceService", "metrics.v1.MetricsService"]) {
    const { definition, handlers } = service(name, (bytes, metadata) =>
      take(name, metadata.getMap() as IncomingHttpHeaders, bytes, false)
    )
    rpc.addService(definition, handlers)
  }
  const rpcPort = await new Promise<number>((resolve, reject) =>
    rpc.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error)
    )
  )
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    grpcUrl: `http://127.0.0.1:${rpcPort}`,
    spans,
    get metrics() {
      return got.metrics
    },
    requests,
    get status() {
      return got.status
    },
    set status(status) {
      got.status = status
    },
    close: async () => {
      rpc.forceShutdown()
      http.closeAllConnections()
      await new Promise<void>((resolve) => http.close(() => resolve()))
    }
  }
}

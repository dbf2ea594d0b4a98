/** `GET /health` and `GET /health_generate`, by which engines say whether they are well. */
import type { HttpJson } from "../http/HttpJson.ts"

/**
 * True on 200. `deep`: a token was generated, which takes as long as the engine's queue; a version without that route,
 * or another engine that took the address over, is asked the plain question.
 */
export const ask = async (http: HttpJson, url: string, signal: AbortSignal, deep: boolean): Promise<boolean> => {
  const generated = deep ? (await http.get(`${url}/health_generate`, signal)).status : 404
  return (generated === 404 ? (await http.get(`${url}/health`, signal)).status : generated) === 200
}

/**
 * What can go wrong with a request, as plain data: expected, so values and not exceptions. Who is to blame and whether
 * to try again go with the tag; `http/Problem.ts` turns each into a status and an OpenAI error body, once.
 */
export type RouteError =
  | { readonly _tag: "BadJson"; readonly detail: string }
  | { readonly _tag: "BadField"; readonly param: string; readonly value: string; readonly fix: string }
  | { readonly _tag: "BadRequest"; readonly status: number; readonly detail: string }
  | { readonly _tag: "BodyTooLarge"; readonly bytesMax: number }
  | { readonly _tag: "UnknownPath"; readonly method: string; readonly path: string }
  | { readonly _tag: "WrongMethod"; readonly method: string; readonly path: string; readonly allowed: string }
  | { readonly _tag: "UnknownModel"; readonly model: string; readonly known: ReadonlyArray<string> }
  | { readonly _tag: "NoEligibleWorker"; readonly model: string; readonly workers: number; readonly states: string }
  | { readonly _tag: "WorkerFailed"; readonly worker: string; readonly reason: string; readonly tries: number }
  | { readonly _tag: "Draining" }
  | { readonly _tag: "Defect" }

/**
 * What can go wrong with a request once its bytes are whole, as plain data: expected, so values and not exceptions.
 * `http/Problem.ts` turns each into a status and an OpenAI error body, once.
 */
export type RouteError =
  | { readonly _tag: "BadJson"; readonly detail: string }
  | { readonly _tag: "BadField"; readonly param: string; readonly value: string; readonly fix: string }
  | { readonly _tag: "UnknownPath"; readonly method: string; readonly path: string }
  | { readonly _tag: "WrongMethod"; readonly method: string; readonly path: string; readonly allowed: string }
  | { readonly _tag: "UnknownModel"; readonly model: string; readonly known: ReadonlyArray<string> }
  | { readonly _tag: "NoEligibleWorker"; readonly model: string; readonly workers: number; readonly states: string }
  | { readonly _tag: "WorkerFailed"; readonly worker: string; readonly reason: string; readonly tries: number }
  | { readonly _tag: "Defect" }

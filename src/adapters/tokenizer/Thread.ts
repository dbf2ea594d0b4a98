/**
 * Thread: the worker thread that loads a tokenizer and encodes what is too long for the event loop.
 *
 * Started with a folder it reads the files and posts what it found (`Loaded`); started with a model it uses that. Then
 * it answers each `Job` with a `Done`. Tables travel in shared memory: the main thread and this one read the same.
 */
import { parentPort, workerData } from "node:worker_threads"
import { Tokenizer as Library } from "@huggingface/tokenizers"
import * as Bpe from "./Bpe.ts"
import * as BpeModel from "./BpeModel.ts"
import * as Files from "./Files.ts"

export interface Start {
  readonly dir: string
  /** Null to read it from the folder. */
  readonly model: BpeModel.BpeModel | null
}

/** `model` is null when only the general library can encode, and `reason` says why. */
export interface Loaded {
  readonly _tag: "Loaded"
  readonly model: BpeModel.BpeModel | null
  readonly reason: string | null
  readonly config: Files.Files["config"]
  readonly template: string | null
}

export interface Failed {
  readonly _tag: "Failed"
  readonly message: string
}

/** Texts to encode. `addSpecialTokens` matters to the library only; a model's are added outside. */
export interface Job {
  readonly id: number
  readonly texts: ReadonlyArray<string>
  readonly addSpecialTokens: boolean
}

/** Ids of each text, or null when the library failed on them. */
export interface Done {
  readonly _tag: "Done"
  readonly id: number
  readonly ids: ReadonlyArray<Uint32Array> | null
}

export type Answer = Loaded | Failed | Done

type Encode = (text: string, addSpecialTokens: boolean) => Uint32Array

const byModel = (model: BpeModel.BpeModel): Encode => Bpe.make(model).encode

const byLibrary = ({ config, tokenizer }: Files.Files): Encode => {
  const library = new Library(tokenizer, config)
  return (text, addSpecialTokens) =>
    Uint32Array.from(library.encode(text, { add_special_tokens: addSpecialTokens }).ids)
}

const begin = async (start: Start, post: (answer: Answer, transfer: Array<ArrayBuffer>) => void): Promise<Encode> => {
  if (start.model !== null) return byModel(start.model)
  const files = await Files.read(start.dir)
  const read = BpeModel.read(files.tokenizer, files.config)
  const { config, template } = files
  const encode = read.ok ? byModel(read.model) : byLibrary(files)
  const model = read.ok ? read.model : null
  post({ _tag: "Loaded", model, reason: read.ok ? null : read.reason, config, template }, [])
  return encode
}

const port = parentPort
if (port !== null) {
  const post = (answer: Answer, transfer: Array<ArrayBuffer>): void => port.postMessage(answer, transfer)
  const ready = begin(workerData as Start, post)
  ready.catch((cause: Error) => post({ _tag: "Failed", message: cause.message }, []))
  const answer = (encode: Encode, job: Job): void => {
    try {
      const ids = job.texts.map((text) => encode(text, job.addSpecialTokens))
      post(
        { _tag: "Done", id: job.id, ids },
        ids.map((each) => each.buffer as ArrayBuffer)
      )
    } catch {
      post({ _tag: "Done", id: job.id, ids: null }, [])
    }
  }
  port.on("message", (job: Job) => {
    ready.then(
      (encode) => answer(encode, job),
      () => post({ _tag: "Done", id: job.id, ids: null }, [])
    )
  })
}

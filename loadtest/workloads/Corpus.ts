/**
 * Corpus: real text that is already on the machine: documentation and source code shipped inside this package's own
 * runtime dependencies.
 *
 * Their versions are pinned, so a checkout and an installed package see the same text. Reading is bounded (files, bytes
 * per file, bytes in all), sorted by path and done once. A package that is not installed is passed over.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"

export interface Document {
  /** Package and path, for example `effect/src/Queue.ts`. */
  readonly name: string
  readonly text: string
}

export interface Corpus {
  /** Source files, as a coding agent would read them. */
  readonly code: ReadonlyArray<Document>
  /** Prose in Markdown, as a retriever would find it. */
  readonly prose: ReadonlyArray<Document>
}

const fileCharsMax = 60_000
/** A shorter file has nothing to read. */
const fileCharsMin = 1_500

interface Shelf {
  readonly package: string
  readonly folder: string
  readonly kind: "code" | "prose"
  readonly ending: string
  readonly filesMax: number
}

/** What is read from where. Together about 3 MB. */
const shelves: ReadonlyArray<Shelf> = [
  { package: "effect", folder: "src", kind: "code", ending: ".ts", filesMax: 90 },
  { package: "undici", folder: "lib/dispatcher", kind: "code", ending: ".js", filesMax: 40 },
  { package: "undici", folder: "lib/handler", kind: "code", ending: ".js", filesMax: 20 },
  { package: "effect", folder: "", kind: "prose", ending: ".md", filesMax: 4 },
  { package: "undici", folder: "", kind: "prose", ending: ".md", filesMax: 2 },
  { package: "undici", folder: "docs/docs/api", kind: "prose", ending: ".md", filesMax: 60 },
  { package: "@nats-io/nats-core", folder: "", kind: "prose", ending: ".md", filesMax: 4 },
  { package: "@nats-io/jetstream", folder: "", kind: "prose", ending: ".md", filesMax: 4 },
  { package: "@msgpack/msgpack", folder: "", kind: "prose", ending: ".md", filesMax: 2 },
  { package: "lru-cache", folder: "", kind: "prose", ending: ".md", filesMax: 2 },
  { package: "redis", folder: "", kind: "prose", ending: ".md", filesMax: 2 },
  { package: "zeromq", folder: "", kind: "prose", ending: ".md", filesMax: 2 }
]

/** Where an installed package lies, or null. Looked up by folder: `exports` may hide everything else. */
const root = (name: string): string | null => {
  for (const modules of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    const folder = join(modules, name)
    if (existsSync(join(folder, "package.json"))) return folder
  }
  return null
}

const read = (shelf: Shelf): ReadonlyArray<Document> => {
  const home = root(shelf.package)
  if (home === null || !existsSync(join(home, shelf.folder))) return []
  const documents: Array<Document> = []
  for (const file of readdirSync(join(home, shelf.folder)).sort()) {
    if (documents.length === shelf.filesMax) break
    if (!file.endsWith(shelf.ending)) continue
    const text = readFileSync(join(home, shelf.folder, file), "utf8")
      .replaceAll("\r\n", "\n")
      .slice(0, fileCharsMax)
    const name = [shelf.package, shelf.folder, file].filter((part) => part !== "").join("/")
    if (text.length >= fileCharsMin) documents.push({ name, text })
  }
  return documents
}

let loaded: Corpus | undefined

/** Reads the corpus, once per process. Throws when the dependencies it is made from are missing. */
export const load = (): Corpus => {
  if (loaded !== undefined) return loaded
  const seen = new Set<string>() // Some packages ship one guide under two names.
  const of = (kind: Shelf["kind"]) =>
    shelves
      .filter((shelf) => shelf.kind === kind)
      .flatMap(read)
      .filter(({ text }) => !seen.has(text) && seen.add(text))
  const corpus = { code: of("code"), prose: of("prose") }
  if (corpus.code.length < 20 || corpus.prose.length < 20) {
    throw new Error(
      `The demo's text comes from the installed dependencies (effect, undici), and only ${corpus.code.length} source files ` +
        `and ${corpus.prose.length} documents of them were found; at least 20 of each are needed. Run npm install again.`
    )
  }
  loaded = corpus
  return corpus
}

/** The first `chars` of a text, cut at the end of a line. */
export const head = (text: string, chars: number): string => {
  if (text.length <= chars) return text
  const end = text.lastIndexOf("\n", chars)
  return text.slice(0, end > chars / 2 ? end : chars)
}

/** Cuts a text into pieces of about `chars`, at ends of lines, in order. */
export const pieces = (text: string, chars: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (let at = 0; at < text.length; ) {
    const piece = head(text.slice(at, at + chars + 1), chars)
    out.push(piece)
    at += piece.length
  }
  return out
}

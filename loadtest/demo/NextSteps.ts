/** NextSteps: what a person may type after the demo. Commands fit the way it was started: from a checkout or installed. */
import type { Colors } from "picocolors/types.js"

const warmpath = import.meta.url.endsWith(".ts") ? "npm run warmpath --" : "warmpath"

const request = (model: string) => `'{"model":"${model}","messages":[{"role":"user","content":"Hello"}],"stream":true}'`

const curl = (url: string, model: string) =>
  `curl -N ${url}/v1/chat/completions -H 'content-type: application/json' -d ${request(model)}`

const listed = (items: ReadonlyArray<readonly [string, string]>, colors: Colors): string =>
  items.map(([what, how]) => `  ${what}\n    ${colors.cyan(how)}`).join("\n")

export const text = (colors: Colors): string =>
  `\n${colors.bold("What to try next")}\n${listed(
    [
      [
        "Put it before your own engines:",
        `${warmpath} serve --worker http://10.0.0.4:8000 --worker http://10.0.0.5:8000`
      ],
      ["Keep this fleet and its router up, and send it requests of your own:", `${warmpath} demo --keep`],
      ["Start an engine to break things with:", `${warmpath} sim-engine --help`],
      ["See every knob:", `${warmpath} serve --help`]
    ],
    colors
  )}`

export interface Addresses {
  readonly router: string
  readonly admin: string | null
  readonly engines: ReadonlyArray<string>
  readonly model: string
}

const seen = (admin: string): string =>
  `${warmpath} top --admin ${admin}\n    ${warmpath} explain --admin ${admin} --last 5`

/** Where everything listens while the demo stays up. */
export const addresses = ({ admin, engines, model, router }: Addresses, colors: Colors): string =>
  `\n${colors.bold("Running until Ctrl-C, with traffic")}\n${listed(
    [
      ["Send a request:", curl(router, model)],
      ["Router:", router],
      ...(admin === null
        ? []
        : ([
            ["Watch it, in a browser:", admin],
            ["Or here, and why each request went where it went:", seen(admin)]
          ] as const)),
      ["Engines:", engines.join("  ")]
    ],
    colors
  )}\n`

/** Style: the picture's style sheets, light and dark by the reader's preference. */
import { levels } from "./HeatMap.ts"

const light = {
  back: "#ffffff",
  ink: "#1b1f24",
  soft: "#5b6570",
  grid: "#e6e9ec",
  warm: "#f5f6f8",
  ours: "#d9480f",
  bound: "#5b6570",
  rest: "#c3c9cf",
  c0: "#1864ab",
  c1: "#2b8a3e",
  c2: "#862e9c",
  c3: "#8a6d00",
  c4: "#a61e4d",
  c5: "#0b7285",
  hot: "#d9480f"
}

const dark: typeof light = {
  back: "#14171a",
  ink: "#e8eaed",
  soft: "#a3acb5",
  grid: "#2b3036",
  warm: "#1b1f23",
  ours: "#ff922b",
  bound: "#a3acb5",
  rest: "#545c64",
  c0: "#5ab0ff",
  c1: "#69db7c",
  c2: "#da77f2",
  c3: "#ffe066",
  c4: "#ffa8a8",
  c5: "#3bc9db",
  hot: "#ff922b"
}

const variables = (colours: typeof light): string =>
  Object.entries(colours)
    .map(([name, colour]) => `--${name}: ${colour};`)
    .join(" ")

const coloured = (["ours", "bound", "rest", "c0", "c1", "c2", "c3", "c4", "c5"] as const)
  .map((name) => `.line.${name} { stroke: var(--${name}) } .dot.${name}, .direct.${name} { fill: var(--${name}) }`)
  .join("\n")

const shades = Array.from(
  { length: levels },
  (_, i) => `.h${i + 1} { fill: var(--hot); fill-opacity: ${((i + 1) / levels).toFixed(2)} }`
).join("\n")

/** Of every chart. */
export const charts = `:root { color-scheme: light dark; ${variables(light)} }
@media (prefers-color-scheme: dark) { :root { ${variables(dark)} } }
svg { font: 12px system-ui, sans-serif }
svg text { fill: var(--soft) }
svg text.axis { font-style: italic }
svg text.direct { font-weight: 600; paint-order: stroke; stroke: var(--back); stroke-width: 3px; stroke-linejoin: round }
.grid { stroke: var(--grid); fill: none }
.warm { fill: var(--warm) }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round }
.line.thin { stroke-width: 1.3 }
.line.leader { stroke-width: 0.8; stroke-dasharray: none }
.line.rest { stroke-width: 1 }
.line.ours { stroke-width: 2.8 } .line.ours.leader { stroke-width: 1 }
.line.variant { stroke-dasharray: 8 3 }
.line.b0 { stroke-dasharray: 5 3 } .line.b1 { stroke-dasharray: 2 2 } .line.b2 { stroke-dasharray: 8 3 2 3 }
${coloured.replaceAll(".direct.", "svg text.direct.")}
${shades}`

/** Of the page around them. */
export const page = `* { box-sizing: border-box }
body { margin: 0 auto; padding: 20px 16px 40px; max-width: 1360px; background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif }
h1 { font-size: 1.35rem; margin: 0 0 2px } h2 { font-size: 1rem; margin: 22px 0 4px } h3 { font-size: 0.9rem; margin: 8px 0 2px; font-weight: 600 }
p { margin: 4px 0; color: var(--soft) }
svg { display: block; width: 100%; height: auto }
.two { display: grid; gap: 8px 28px; grid-template-columns: minmax(0, 1fr) }
figure { margin: 0 }
.small { display: grid; gap: 8px 20px; grid-template-columns: repeat(auto-fill, minmax(min(250px, 100%), 1fr)) }
.scroll { overflow-x: auto }
.shades { max-width: 520px }
table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; white-space: nowrap; width: 100% }
th, td { padding: 3px 4px; text-align: right; border-bottom: 1px solid var(--grid) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--back) }
thead th { color: var(--soft); font-weight: 600 }
tbody th { font-weight: 400 } tr.ours th, tr.ours td { font-weight: 700 } tr.bound th, tr.bound td { color: var(--soft); font-style: italic }
tbody th svg { display: inline-block; width: 22px; height: 8px; margin-right: 6px }
dl { columns: 2 26rem; margin: 4px 0 } dt { font-weight: 600 } dd { margin: 0 0 6px; color: var(--soft); break-before: avoid }
.mark { color: var(--soft); font-size: 12px }
@media (max-width: 600px) { svg { font-size: 14px } svg text.direct { font-size: 13px } .small svg { font-size: 12px } }
@media (min-width: 1000px) { .two { grid-template-columns: repeat(2, minmax(0, 1fr)) } .top { grid-template-columns: minmax(0, 4fr) minmax(0, 7fr) } }`

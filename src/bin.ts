#!/usr/bin/env node
// The command. Kept apart from `main.ts` so that an old Node is told what is wrong instead of failing on new syntax.
const major = Number(process.versions.node.split(".")[0])
if (major < 24) {
  process.stderr.write(
    `warmpath needs Node 24 or newer, and this is ${process.version}. ` +
      "In a checkout use `npm run warmpath -- …`, which brings its own; elsewhere `npx -p node@24 -p warmpath warmpath …`.\n"
  )
  process.exit(1)
}
const { main } = await import("./main.ts")
main()

export {}

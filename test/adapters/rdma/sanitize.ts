/**
 * `node test/adapters/rdma/sanitize.ts`: the tests of the fabric once more, with the addon built for AddressSanitizer and
 * UndefinedBehaviorSanitizer. What leaks in the addon is a failure; what Node, libfabric and the providers keep is not looked at.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { addonFile, libfabric } from "../../support/Rdma.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const addon = await addonFile({ sanitize: true })
await libfabric()
const sanitizer = execFileSync("g++", ["-print-file-name=libasan.so"], { encoding: "utf8" }).trim()
const folder = mkdtempSync(join(tmpdir(), "sanitize-"))
const suppressions = join(folder, "suppressions")
writeFileSync(
  suppressions,
  ["bin/node", "libfabric", "libibverbs", "libpsm", "libefa", "librdmacm", "esbuild", "rolldown"]
    .map((name) => `leak:${name}\n`)
    .join("")
)
const { status } = spawnSync(
  process.execPath,
  [
    join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "-c",
    "test/vitest.config.ts",
    "test/adapters/rdma/Fabric",
    ...process.argv.slice(2)
  ],
  {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      WARMPATH_TEST_ADDON: addon,
      LD_PRELOAD: sanitizer,
      // V8 has handlers of its own for some faults; and a test wants allocations to fail.
      ASAN_OPTIONS: `detect_leaks=1:handle_segv=0:allow_user_segv_handler=1:allocator_may_return_null=1:log_path=${join(folder, "report")}`,
      UBSAN_OPTIONS: `print_stacktrace=1:log_path=${join(folder, "report")}`,
      LSAN_OPTIONS: `suppressions=${suppressions}:print_suppressions=0`
    }
  }
)
const reports = readdirSync(folder).filter((name) => name.startsWith("report"))
for (const name of reports) console.error(readFileSync(join(folder, name), "utf8"))
rmSync(folder, { recursive: true })
console.info(`${reports.length} reports of the sanitizers.`)
process.exitCode = status !== 0 || reports.length > 0 ? 1 : 0

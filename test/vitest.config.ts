import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { ClosingLine } from "./support/ClosingLine.ts"

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  test: {
    reporters: ["default", new ClosingLine()],
    // Of any kind: some only reckon, others mostly wait for each other.
    maxWorkers: 2,
    // Of the commands that tests start: each compiles the same program, which is half of what it takes to start.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL("../node_modules/.cache/compiled", import.meta.url)) },
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["test/**/*.test.ts"], exclude: ["test/**/*.int.test.ts"], testTimeout: 30_000 }
      },
      {
        extends: true,
        // Real processes and sockets.
        test: {
          name: "int",
          include: ["test/**/*.int.test.ts"],
          exclude: ["test/adapters/rdma/**"],
          testTimeout: 60_000,
          hookTimeout: 60_000
        }
      },
      {
        extends: true,
        // Fabrics that spin take all cores: nobody else's clocks would be right meanwhile.
        test: {
          name: "fabric",
          include: ["test/adapters/rdma/**/*.int.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})

/** CPU of another process, all its threads: as the scheduler counts it in ns, else by `utime + stime` in ticks of 10 ms. */
import { existsSync, readdirSync, readFileSync } from "node:fs"

export const processUs = (pid: number): number => {
  if (!existsSync(`/proc/${pid}/schedstat`)) return ticksUs(pid)
  let us = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    us += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e3
  }
  return us
}

const ticksUs = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** CPU of this thread, and of the others of this process, in µs. */
export const own = (): { readonly thread: number; readonly others: number } => {
  const thread = process.threadCpuUsage()
  const all = process.cpuUsage()
  const threadUs = thread.user + thread.system
  return { thread: threadUs, others: all.user + all.system - threadUs }
}

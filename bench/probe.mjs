// Preloaded into a measured process: at its end, tells the time and memory it took on file descriptor 3.
import { readFileSync, writeSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

/** In bytes. The kernel's own record first: getrusage() on Linux counts the parent's memory at the fork as well. */
function peakMemory(maxRss) {
  try {
    return Number(/^VmHWM:\s*([0-9]+) kB$/m.exec(readFileSync("/proc/self/status", "latin1"))[1]) * 1024;
  } catch {
    return maxRss * 1024;
  }
}

if (isMainThread) {
  process.on("exit", () => {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    const seconds = { user: userCPUTime / 1e6, system: systemCPUTime / 1e6 };
    writeSync(3, JSON.stringify({ ...seconds, peak: peakMemory(maxRSS) }));
  });
}

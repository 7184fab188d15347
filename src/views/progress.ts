/** A progress bar on standard error, for people at a terminal. */
import type { SingleBar } from "cli-progress";
import type { Progress } from "../run.ts";
import { formatBytes } from "./units.ts";

export const NO_PROGRESS: Progress = { begin() {}, advance() {}, end() {} };

/** Bytes, rate and time left; the library is loaded when a bar is first shown. */
export async function terminalProgress(stream: NodeJS.WriteStream): Promise<Progress> {
  const { SingleBar } = await import("cli-progress");
  let bar: SingleBar | null = null;
  let started = 0;
  let done = 0;
  return {
    begin(what, total) {
      started = Date.now();
      done = 0;
      bar = new SingleBar({
        stream,
        hideCursor: true,
        clearOnComplete: true,
        etaBuffer: 50,
        format: `${what} [{bar}] {percentage}% {read} of {whole}, {rate}/s, {eta_formatted} left`,
      });
      bar.start(total, 0, { read: formatBytes(0), whole: formatBytes(total), rate: formatBytes(0) });
    },
    advance(bytes) {
      done += bytes;
      const rate = (done * 1000) / Math.max(1, Date.now() - started);
      bar?.update(done, { read: formatBytes(done), rate: formatBytes(rate) });
    },
    end() {
      bar?.stop();
      bar = null;
    },
  };
}

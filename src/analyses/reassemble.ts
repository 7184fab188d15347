/**
 * Layers that are kept as files: their tar is put together again from tar-split and folder, and compared with the
 * diffID. Only a layer whose digest is wrong is read a second time, file by file, to say which of them differ.
 */
import { createHash } from "node:crypto";
import { type BytePath, displayPath, joinPath } from "../byte-path.ts";
import { type ByteSource, bufferSource } from "../bytes/source.ts";
import { type Digest, digestOf } from "../digest.ts";
import { FormatError, InterruptedError, messageOf, TruncatedError } from "../errors.ts";
import { assembleLayer, type LayerFiles, type LayerFinding, readTarSplit } from "../formats/tarsplit.ts";
import type { UnpackedLayer } from "../stores/store.ts";
import type { Verdict } from "../verdict.ts";

/** What is asked of the place that the files are in: a tree, or a folder that a thread opens for itself. */
export interface LayerPlace {
  open(path: BytePath): Promise<ByteSource>;
  readSmall(path: BytePath, limit: number): Promise<Uint8Array | null>;
  lstat(path: BytePath): Promise<{ readonly type: string; readonly size: number } | null>;
}

export interface Reassembled {
  readonly verdict: Verdict;
  readonly actual: Digest | null;
  /** Of the tar. */
  readonly bytes: number;
  readonly detail: string | null;
}

/** Never throws for what the bytes are; `onBytes` hears of progress. */
export async function reassemble(
  place: LayerPlace,
  layer: UnpackedLayer,
  diffId: Digest,
  onBytes: (count: number) => void,
): Promise<Reassembled> {
  const none = { actual: null, bytes: 0 };
  if ((await place.lstat(layer.folder))?.type !== "directory")
    return { ...none, verdict: "missing", detail: "its folder is not there" };
  if (layer.tarSplit === null || (await place.lstat(layer.tarSplit))?.type !== "file")
    return { ...none, verdict: "unverifiable", detail: "the engine has kept no tar-split of it" };
  if (!diffId.startsWith("sha256:"))
    return {
      ...none,
      verdict: "unverifiable",
      detail: `there is no ${diffId.split(":", 1)[0]} of layers here`,
    };
  const first = await assemble(place, layer, false, onBytes);
  if (first.actual === diffId) return { verdict: "ok", actual: diffId, bytes: first.bytes, detail: null };
  const again = await assemble(place, layer, true, () => undefined);
  return { ...judge(again), actual: again.actual, bytes: first.bytes };
}

interface Assembled {
  readonly actual: Digest | null;
  readonly bytes: number;
  readonly findings: readonly LayerFinding[];
  readonly count: number;
  readonly failure: { readonly verdict: Verdict; readonly message: string } | null;
}

/** As many are kept to be told. */
const KEPT = 64;

async function assemble(
  place: LayerPlace,
  layer: UnpackedLayer,
  checksums: boolean,
  onBytes: (count: number) => void,
): Promise<Assembled> {
  const hash = createHash("sha256");
  const findings: LayerFinding[] = [];
  let count = 0;
  let bytes = 0;
  const result = (actual: Digest | null, failure: Assembled["failure"]): Assembled => {
    return { actual, bytes, findings, count, failure };
  };
  const note = (finding: LayerFinding): void => {
    count++;
    if (findings.length < KEPT) findings.push(finding);
  };
  try {
    const packed = await place.open(layer.tarSplit!);
    try {
      const entries = readTarSplit(packed.stream(), displayPath(layer.tarSplit!));
      for await (const chunk of assembleLayer(entries, filesOf(place, layer.folder), note, checksums)) {
        hash.update(chunk);
        bytes += chunk.length;
        onBytes(chunk.length);
      }
    } finally {
      await packed.close();
    }
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    const verdict: Verdict =
      error instanceof TruncatedError ? "truncated" : error instanceof FormatError ? "corrupt" : "unreadable";
    return result(null, { verdict, message: messageOf(error) });
  }
  return result(digestOf("sha256", hash.digest("hex")), null);
}

/** Files up to this size are read at once: opening one as a stream takes ten times as long as to read it. */
const SMALL = 1 << 20;

function filesOf(place: LayerPlace, folder: BytePath): LayerFiles {
  return {
    async open(path) {
      const inside = joinPath(folder, path);
      const entry = await place.lstat(inside);
      if (entry?.type !== "file") return null;
      if (entry.size > SMALL) return place.open(inside);
      const bytes = await place.readSmall(inside, SMALL);
      return bytes && bufferSource(displayPath(inside), bytes);
    },
  };
}

const DAMAGE: ReadonlySet<string> = new Set(["missing", "size", "checksum", "name"]);
const EXPLAINED: ReadonlySet<string> = new Set(["sparse", "whiteout-data", "linked-data"]);
const SHOWN = 3;

function judge({ findings, count, failure }: Assembled): Pick<Reassembled, "verdict" | "detail"> {
  if (failure) return { verdict: failure.verdict, detail: `its tar-split: ${failure.message}` };
  const of = (kinds: ReadonlySet<string>): LayerFinding[] => findings.filter((one) => kinds.has(one.kind));
  const [damage, unread, explained] = [of(DAMAGE), of(new Set(["unreadable"])), of(EXPLAINED)];
  if (damage.length > 0) return { verdict: "corrupt", detail: told(damage, count - explained.length) };
  if (unread.length > 0) return { verdict: "unreadable", detail: told(unread, unread.length) };
  if (explained.length > 0) return { verdict: "unverifiable", detail: told(explained, explained.length) };
  return {
    verdict: "corrupt",
    detail: "every file is as it was unpacked, so its record of headers (tar-split) was changed",
  };
}

function told(findings: readonly LayerFinding[], count: number): string {
  const first = findings
    .slice(0, SHOWN)
    .map((one) => `${displayPath(one.path ?? one.rawName)}: ${saying(one)}`);
  const more = count > first.length ? `; and ${count - first.length} more` : "";
  return `${first.join("; ")}${more}`;
}

function saying(finding: LayerFinding): string {
  switch (finding.kind) {
    case "missing":
      return "not there";
    case "size":
      return `${finding.found} bytes, where it had ${finding.expected}`;
    case "checksum":
      return "other content (CRC-64)";
    case "unreadable":
      return finding.message;
    case "name":
      return "a name that leads out of the layer";
    case "sparse":
      return "a sparse file of the tar, whose map nobody has kept";
    case "whiteout-data":
      return "a whiteout with content, which no engine keeps";
    case "linked-data":
      return "a link with a size, which engines cannot write again";
  }
}

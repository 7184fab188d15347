/** Small files of a data-root: one value a file, or one JSON document. */
import { createHash } from "node:crypto";
import { type BytePath, displayPath, joinPath } from "../../byte-path.ts";
import { type Digest, digestOf, parseDigest } from "../../digest.ts";
import { FormatError, messageOf } from "../../errors.ts";
import { JSON_LIMIT, type Json, parseJson } from "../../formats/json.ts";
import type { Warn } from "../../run.ts";
import type { ReadOnlyTree, TreeEntry } from "../../trees/tree.ts";

/** Values such as a digest or a decimal size are some 71 bytes. */
const VALUE_LIMIT = 4096;

/** Reads a data-root's records; what cannot be read is warned of once, and remembered. */
export class Records {
  readonly tree: ReadOnlyTree;
  private readonly warn: Warn;
  /** Why not everything that refers to something could be read; null: everything could. */
  unsure: string | null;

  constructor(tree: ReadOnlyTree, warn: Warn) {
    this.tree = tree;
    this.warn = warn;
    this.unsure = tree.incomplete;
  }

  /** The text of a one-value file without the space around it; null where there is none, or it cannot be read. */
  async value(folder: BytePath, name: string): Promise<string | null> {
    const path = joinPath(folder, name);
    try {
      const bytes = await this.tree.readSmall(path, VALUE_LIMIT);
      return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1").trim();
    } catch (error) {
      this.cannotRead(path, error);
      return null;
    }
  }

  /** The document at `path` and the digest of its bytes; null where there is no such file. Throws FormatError. */
  async document(path: BytePath): Promise<{ json: Json; digest: Digest } | null> {
    const bytes = await this.tree.readSmall(path, JSON_LIMIT);
    if (!bytes) return null;
    const digest = digestOf("sha256", createHash("sha256").update(bytes).digest("hex"));
    return { json: parseJson(bytes, displayPath(path)), digest };
  }

  /** The digest in a one-value file; null for anything else. */
  async digest(folder: BytePath, name: string): Promise<Digest | null> {
    return parseDigest((await this.value(folder, name)) ?? "");
  }

  async names(folder: BytePath): Promise<readonly string[]> {
    const names = await this.tree.names(folder);
    this.unsure ??= this.tree.incomplete;
    return names;
  }

  async list(folder: BytePath): Promise<readonly TreeEntry[]> {
    const entries = await this.tree.list(folder);
    this.unsure ??= this.tree.incomplete;
    return entries;
  }

  /** A part of the records was not to be had: from now on nothing counts as unreferenced. */
  cannotRead(path: BytePath, error: unknown): void {
    this.unsure ??= `${displayPath(path)} could not be read`;
    this.tell("unreadable", path, messageOf(error), true);
  }

  /** Something is wrong, and it is known what. */
  damaged(path: BytePath, message: string): void {
    this.tell("damaged", path, message, false);
  }

  private tell(code: string, path: BytePath, message: string, incomplete: boolean): void {
    const place = displayPath(path);
    let text = message;
    for (const prefix of [`cannot read ${this.tree.label}: ${place}: `, `${this.tree.label}: `, `${place}: `])
      if (text.startsWith(prefix)) text = text.slice(prefix.length);
    this.warn({ code, path: place, message: text, incomplete });
  }

  /** Whether the failure lies in the bytes, which were read, and not in reading them. */
  static isDamage(error: unknown): boolean {
    return error instanceof FormatError;
  }
}

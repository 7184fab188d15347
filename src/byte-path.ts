/**
 * Paths inside a source. File names are bytes, not text, so a path is a string in which one char is one byte
 * (latin1): exact as a Map key whatever its encoding.
 */

/** Relative, "/" between components, no empty, "." or ".." component; "" is the root. */
export type BytePath = string & { readonly __bytePath: true };

export const ROOT = "" as BytePath;

/**
 * The path that `raw` (one char = one byte) names below the root, or null where it leaves it ("..", NUL).
 * A leading "/" or "./" and doubled slashes are dropped, as tar programs do.
 */
export function parseBytePath(raw: string): BytePath | null {
  if (PLAIN.test(raw)) return raw as BytePath;
  if (raw.includes("\0")) return null;
  const parts = raw.split("/").filter((part) => part !== "" && part !== ".");
  return parts.includes("..") ? null : (parts.join("/") as BytePath);
}
/** No dot at the start of a component and no doubled or outer slash: already normal, the case of nearly every path. */
const PLAIN = /^[^\0/.][^\0/]*(?:\/[^\0/.][^\0/]*)*$/;

/** A path from text (UTF-16), as JSON names it. */
export function bytePathFromText(text: string): BytePath | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the question is whether the text is ASCII
  return parseBytePath(/^[\x00-\x7f]*$/.test(text) ? text : Buffer.from(text, "utf8").toString("latin1"));
}

/** The path as the bytes that the operating system knows it by. */
export function pathBytes(path: BytePath): Buffer {
  return Buffer.from(path, "latin1");
}

export function joinPath(...parts: readonly string[]): BytePath {
  return parts.filter((part) => part !== "").join("/") as BytePath;
}

/** The path without its last component; the root for a path of one component. */
export function parentOf(path: BytePath): BytePath {
  return path.slice(0, Math.max(0, path.lastIndexOf("/"))) as BytePath;
}

export function baseName(path: BytePath): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** For people: decoded as UTF-8 where it is that, with control characters and stray bytes escaped as `\xNN`. */
export function displayPath(path: BytePath | string): string {
  const bytes = Buffer.from(path, "latin1");
  const text = bytes.toString("utf8");
  const shown = Buffer.from(text, "utf8").equals(bytes) ? text : path.replace(/[\x80-\xff]/g, hexEscape);
  return escapeControls(shown);
}

/** Escapes what could move the cursor or forge a line: C0 and C1 controls, and bidirectional overrides. */
export function escapeControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, hexEscape);
}

function hexEscape(char: string): string {
  const code = char.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
}

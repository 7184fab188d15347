/** Go's encoding/json: keys sorted, U+2028 and U+2029 escaped; what it cannot encode (NaN) throws. */

import { floatOf, kindOf, Row, sortedEntries } from "./values.ts";

/**
 * docker's json function keeps `<`, `>` and `&`, but a whole row brings its own encoding, which escapes them:
 * `docker images --format json` prints `"\u003cnone\u003e"`.
 */
export function encodeJson(value: unknown): string {
  const text = encode(value);
  if (!(value instanceof Row)) return text;
  return text.replaceAll(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
}

function encode(value: unknown): string {
  switch (kindOf(value)) {
    case "nil":
      return "null";
    case "string":
      return encodeString(value as string);
    case "float":
      if (!Number.isFinite(floatOf(value))) throw new RangeError("unsupported value");
      return String(floatOf(value));
    case "slice":
      return `[${(value as unknown[]).map(encode).join(",")}]`;
    case "func":
      throw new TypeError("unsupported type: func");
    case "map":
    case "row":
      return `{${sortedEntries(value as object)
        .map(([key, field]) => `${encodeString(key)}:${encode(field)}`)
        .join(",")}}`;
    default:
      return String(value);
  }
}

function encodeString(text: string): string {
  return JSON.stringify(text).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}

/** Go's literals: quoted strings, characters, numbers. Each function gives null for what is none. */

import { Float } from "./values.ts";

const escapes: Record<string, number> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11, "\\": 92 };
const escapePattern =
  /\\(?:x([\da-fA-F]{2})|([0-7]{3})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([\s\S]))|[^\\]+|\\/gu;

/** The text of a quoted string. `\xff` and `\377` give bytes, which together are read as UTF-8. */
export function unquote(literal: string): string | null {
  const quote = literal.charAt(0);
  const parts: Buffer[] = [];
  for (const match of literal.slice(1, -1).matchAll(escapePattern)) {
    const part = decodePart(match, quote);
    if (part === null) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function decodePart(match: RegExpMatchArray, quote: string): Buffer | null {
  const [whole, hex, octal, short, long, single] = match;
  if (!whole.startsWith("\\")) return Buffer.from(whole);
  if (hex !== undefined) return Buffer.from(hex, "hex");
  if (octal !== undefined) return byteOf(Number.parseInt(octal, 8));
  const point = short ?? long;
  if (point !== undefined) return characterOf(Number.parseInt(point, 16));
  if (single === quote) return Buffer.from(quote);
  const code = single === undefined ? undefined : escapes[single];
  return code === undefined ? null : byteOf(code);
}

function byteOf(value: number): Buffer | null {
  return value > 0xff ? null : Buffer.from([value]);
}

function characterOf(point: number): Buffer | null {
  if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return null;
  return Buffer.from(String.fromCodePoint(point));
}

/** The code point of 'a'. */
export function parseCharacter(literal: string): number | null {
  const byte = /^'\\(?:x([\da-fA-F]{2})|([0-7]{3}))'$/.exec(literal);
  if (byte) return byte[1] === undefined ? Number.parseInt(byte[2]!, 8) : Number.parseInt(byte[1], 16);
  const characters = [...(unquote(literal) ?? "")];
  return characters.length === 1 ? characters[0]!.codePointAt(0)! : null;
}

const decimal = /^[+-]?(?:0|[1-9]\d*(?:_\d+)*)$/;
const based = /^([+-]?)(0[xX](?:_?[\da-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+)$/;
const float = /^[+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const int64 = 2n ** 63n;

/** An int as number, or bigint where a number is not exact; a `Float` for what has a point or exponent. */
export function parseNumber(literal: string): number | bigint | Float | null {
  const text = literal.replaceAll("_", "");
  const parts = based.exec(literal);
  if (parts) {
    const digits = text.replace(/^[+-]/, "");
    const value = BigInt(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
    return fitInt(parts[1] === "-" ? -value : value);
  }
  if (decimal.test(literal)) return fitInt(BigInt(text.replace("+", "")));
  if (!float.test(literal) || !/[.eE]/.test(literal)) return null;
  const value = Number(text);
  return Number.isFinite(value) ? new Float(value) : null;
}

function fitInt(value: bigint): number | bigint | null {
  if (value < -int64 || value >= int64) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

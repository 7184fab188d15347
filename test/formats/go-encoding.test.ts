import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { parseGoTime, parseUvarint, parseVarint, readUvarint } from "../../src/formats/go-encoding.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

test("signed varints are zigzag", () => {
  expect(parseVarint(hex("a8 05"))).toBe(340);
  expect(parseVarint(hex("00"))).toBe(0);
  expect(parseVarint(hex("01"))).toBe(-1);
  expect(parseVarint(hex("02"))).toBe(1);
  expect(parseVarint(hex("fe ff ff ff ff ff ff 1f"))).toBe(Number.MAX_SAFE_INTEGER);
  expect(parseVarint(hex("fd ff ff ff ff ff ff 1f"))).toBe(Number.MIN_SAFE_INTEGER);
});

test("unsigned varints", () => {
  expect(parseUvarint(hex("a8 05"))).toBe(680);
  expect(parseUvarint(hex("7f"))).toBe(127);
  expect(parseUvarint(hex("80 01"))).toBe(128);
  expect(parseUvarint(hex("ff ff ff ff ff ff ff 0f"))).toBe(Number.MAX_SAFE_INTEGER);
  // A key of containerd's `parents` bucket: parent 300, a zero byte, child 5.
  const key = hex("ac 02 00 05");
  expect(readUvarint(key, 0)).toEqual({ value: 300, end: 2 });
  expect(readUvarint(key, 3)).toEqual({ value: 5, end: 4 });
});

test("every number comes back", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const zigzag = value < 0 ? -BigInt(value) * 2n - 1n : BigInt(value) * 2n;
      expect(parseVarint(varint(zigzag))).toBe(value);
      expect(parseUvarint(varint(BigInt(Math.abs(value))))).toBe(Math.abs(value));
    }),
  );
});

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (let left = value; ; left >>= 7n) {
    if (left < 0x80n) return Uint8Array.from([...bytes, Number(left)]);
    bytes.push(Number(left & 0x7fn) | 0x80);
  }
}

test.each([
  ["nothing", ""],
  ["no end", "80 80"],
  ["bytes after it", "01 00"],
  ["beyond 2^53", "80 80 80 80 80 80 80 10"],
  ["beyond 64 bits", "ff ff ff ff ff ff ff ff ff 02"],
  ["eleven bytes", "80 80 80 80 80 80 80 80 80 80 01"],
])("a varint that is refused: %s", (_, text) => {
  expect(() => parseUvarint(hex(text))).toThrow(FormatError);
  if (text !== "80 80 80 80 80 80 80 10") expect(() => parseVarint(hex(text))).toThrow(FormatError);
});

test("times as Go marshals them", () => {
  // time.Date(2024, 2, 29, 12, 30, 45, 123456789, time.UTC)
  const seconds = (Date.UTC(2024, 1, 29, 12, 30, 45) / 1000 + 62_135_596_800).toString(16).padStart(16, "0");
  const expected = { unixMs: Date.UTC(2024, 1, 29, 12, 30, 45, 123), nanoseconds: 123_456_789 };
  expect(parseGoTime(hex(`01 ${seconds} 075bcd15 ffff`))).toEqual(expected);
  expect(parseGoTime(hex(`01 ${seconds} 075bcd15 003c`))).toEqual(expected); // zone +01:00: the same instant
  expect(parseGoTime(hex(`02 ${seconds} 075bcd15 003c 1e`))).toEqual(expected); // +01:00:30
  expect(parseGoTime(hex("01 0000000000000000 00000000 ffff"))).toBeNull();
  expect(parseGoTime(hex("01 0000000e7791f700 00000000 ffff"))).toEqual({ unixMs: 0, nanoseconds: 0 });
});

test.each([
  ["nothing", ""],
  ["another version", "03 0000000e7791f700 00000000 ffff"],
  ["too short", "01 0000000e7791f700 00000000 ff"],
  ["too long", "01 0000000e7791f700 00000000 ffff 00"],
  ["version 2 without its last byte", "02 0000000e7791f700 00000000 ffff"],
  ["before year 1", "01 ffffffffffffffff 00000000 ffff"],
  ["after year 9999", "01 7fffffffffffffff 00000000 ffff"],
  ["too many nanoseconds", "01 0000000e7791f700 3b9aca00 ffff"],
])("a time that is refused: %s", (_, text) => {
  expect(() => parseGoTime(hex(text))).toThrow(FormatError);
});

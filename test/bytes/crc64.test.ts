import fc from "fast-check";
import { expect, test } from "vitest";
import { Crc64 } from "../../src/bytes/crc64.ts";

/** Bit by bit, as the definition has it. */
function plainCrc64(bytes: Uint8Array): bigint {
  let crc = 0xffffffffffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ (crc & 1n ? 0xd800000000000000n : 0n);
  }
  return crc ^ 0xffffffffffffffffn;
}

const hex = (text: string) => new Crc64().update(Buffer.from(text)).digest().toString(16).padStart(16, "0");

test("known values", () => {
  expect(hex("123456789")).toBe("b90956c775a41001");
  // The golden values of Go's hash/crc64 tests.
  expect(hex("")).toBe("0000000000000000");
  expect(hex("a")).toBe("3420000000000000");
  expect(hex("ab")).toBe("36c4200000000000");
  expect(hex("abcdefghij")).toBe("7f5b6e21b002d367");
});

test("equals the definition, in pieces of any length and at any alignment", () => {
  const pieces = fc.array(fc.tuple(fc.uint8Array({ maxLength: 70 }), fc.integer({ min: 0, max: 7 })), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(pieces, (all) => {
      const crc = new Crc64();
      for (const [bytes, shift] of all) {
        const shifted = new Uint8Array(shift + bytes.length).subarray(shift);
        shifted.set(bytes);
        crc.update(shifted);
      }
      expect(crc.digest()).toBe(plainCrc64(Buffer.concat(all.map(([bytes]) => bytes))));
    }),
    { numRuns: 300 },
  );
});

test("more bytes than go through at once", () => {
  const bytes = new Uint8Array(200_003).map((_, i) => (i * i) >> 5);
  expect(new Crc64().update(bytes).digest()).toBe(plainCrc64(bytes));
});

test("several at the same time", () => {
  const [a, b] = [new Crc64(), new Crc64()];
  for (const digit of "123456789") {
    a.update(Buffer.from(digit));
    b.update(Buffer.from("x"));
  }
  expect(a.digest()).toBe(0xb90956c775a41001n);
  expect(b.digest()).toBe(new Crc64().update(Buffer.from("xxxxxxxxx")).digest());
});

test("goes on after a digest was taken", () => {
  const crc = new Crc64().update(Buffer.from("1234"));
  crc.digest();
  expect(crc.update(Buffer.from("56789")).digest()).toBe(0xb90956c775a41001n);
});

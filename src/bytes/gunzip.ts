/**
 * gzip (RFC 1952) by node:zlib, which reads on through any number of members and checks each one's CRC and
 * length. Zero bytes after the last member are padding, as for gzip(1); any other trailing byte is an error, as
 * in Go's compress/gzip.
 */
import { createGunzip } from "node:zlib";
import type { CompressedInput } from "./compressed-input.ts";
import { ENGINE_OPTIONS, runEngine } from "./zlib-engine.ts";

export function gunzip(input: CompressedInput): AsyncIterable<Uint8Array> {
  return runEngine(createGunzip(ENGINE_OPTIONS), input, async (write) => {
    for (let piece = await input.some(); piece.length > 0; piece = await input.some()) {
      const taken = await write(piece);
      if (taken < piece.length) return checkPadding(input, piece.subarray(taken));
    }
  });
}

/** The engine ends at the first zero byte after a member and drops what follows: that must be zeros too. */
async function checkPadding(input: CompressedInput, rest: Uint8Array): Promise<void> {
  for (let piece = rest; piece.length > 0; piece = await input.some()) {
    const stray = piece.findIndex((byte) => byte !== 0);
    if (stray >= 0) throw input.damaged("trailing garbage", input.offset - piece.length + stray);
  }
}

/**
 * Encodings of Go's standard library that engines put into database values: variable-length integers
 * (encoding/binary/varint.go) and times (Time.MarshalBinary in time/time.go, versions 1 and 2).
 *
 * containerd stores sizes as signed varints and snapshot IDs as unsigned ones. Numbers must be below 2^53.
 * All functions throw {@link FormatError}.
 */
import { FormatError } from "../errors.ts";

/** All of `bytes` as one unsigned varint. */
export function parseUvarint(bytes: Uint8Array): number {
  return whole(bytes, toNumber(uvarint(bytes, 0).value));
}

/** All of `bytes` as one signed varint, as PutVarint writes: the sign is in the lowest bit (zigzag), so 1 is `02`. */
export function parseVarint(bytes: Uint8Array): number {
  const { value } = uvarint(bytes, 0);
  return whole(bytes, toNumber(value & 1n ? -(value >> 1n) - 1n : value >> 1n));
}

/** An unsigned varint at `offset`, and where it ends (exclusive). */
export function readUvarint(bytes: Uint8Array, offset: number): { value: number; end: number } {
  const { value, end } = uvarint(bytes, offset);
  return { value: toNumber(value), end };
}

/** Seven bits a byte, lowest first; the highest bit says that more follow. At most ten bytes and 64 bits. */
function uvarint(bytes: Uint8Array, offset: number): { value: bigint; end: number } {
  let value = 0n;
  for (let at = offset; at < bytes.length && at < offset + 10; at++) {
    const byte = bytes[at]!;
    value |= BigInt(byte & 0x7f) << BigInt(7 * (at - offset));
    if (byte < 0x80) {
      if (value >= 1n << 64n) throw bad(offset, "a varint of more than 64 bits");
      return { value, end: at + 1 };
    }
  }
  throw bad(offset, "a varint without an end");
}

function whole(bytes: Uint8Array, value: number): number {
  if (uvarint(bytes, 0).end !== bytes.length) throw bad(0, "bytes after a varint");
  return value;
}

function toNumber(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw bad(0, `the number ${value}, larger than any it can stand for`);
  return number;
}

/** A point in time. The zone it was written with is dropped. */
export interface GoTime {
  /** Milliseconds since 1970, rounded down, for `Date`. */
  readonly unixMs: number;
  /** Within the second, 0 to 999,999,999. */
  readonly nanoseconds: number;
}

/** From the start of year 1, where Go counts from, to 1970. */
const UNIX_EPOCH = 62_135_596_800;
const YEAR_10000 = 315_537_897_600;

/**
 * A version byte, seconds since year 1 (8 bytes), nanoseconds (4), the zone's minutes (2); version 2 adds a byte of
 * the zone's seconds. Big-endian. null: Go's zero time, which stands for "not set".
 */
export function parseGoTime(bytes: Uint8Array): GoTime | null {
  const version = bytes[0];
  if (version !== 1 && version !== 2) throw bad(0, `a time of version ${version ?? "none"}`);
  if (bytes.length !== version + 14) throw bad(0, `a time of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const seconds = Number(view.getBigInt64(1));
  const nanoseconds = view.getInt32(9);
  if (seconds < 0 || seconds >= YEAR_10000) throw bad(1, "a time outside of the years 1 to 9999");
  if (nanoseconds < 0 || nanoseconds > 999_999_999) throw bad(9, `${nanoseconds} nanoseconds`);
  if (seconds === 0 && nanoseconds === 0) return null;
  return { unixMs: (seconds - UNIX_EPOCH) * 1000 + Math.floor(nanoseconds / 1e6), nanoseconds };
}

function bad(offset: number, message: string): FormatError {
  return new FormatError("go-encoding", message, offset);
}

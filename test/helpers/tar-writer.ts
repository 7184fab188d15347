/** Tar archives for tests: ordinary ones by tar-stream, odd ones header by header. */
import { pack as createPack } from "tar-stream";

export interface Item {
  readonly name: string;
  readonly type?: "file" | "directory" | "symlink" | "link" | "fifo" | "character-device" | "block-device";
  readonly content?: string | Uint8Array;
  readonly linkname?: string;
  readonly mode?: number;
  readonly pax?: Record<string, string>;
}

/** What tar-stream writes: ustar, PAX where a name is long or not ASCII, two blocks of zeros at the end. */
export async function packTar(items: readonly Item[]): Promise<Buffer> {
  const pack = createPack();
  for (const { content = "", ...header } of items) pack.entry(header, Buffer.from(content as string));
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export interface RawHeader {
  /** One char = one byte, as are all texts here. */
  readonly name?: string;
  readonly mode?: string;
  /** A number, or the 12 bytes of the field. */
  readonly size?: number | Uint8Array;
  readonly type?: string;
  readonly linkName?: string;
  readonly magic?: string;
  readonly prefix?: string;
  /** Instead of the right one. */
  readonly checksum?: string;
  /** Bytes for other places, by offset; counted in the checksum. */
  readonly patch?: Readonly<Record<number, Uint8Array>>;
}

export const USTAR = "ustar\x0000";
export const GNU = "ustar  \0";
export const V7 = "";

/** One block of 512 bytes, field by field. */
export function rawHeader(fields: RawHeader): Buffer {
  const block = Buffer.alloc(512);
  const put = (text: string, offset: number) => void block.write(text, offset, "latin1");
  const { size = 0 } = fields;
  put(fields.name ?? "", 0);
  put(fields.mode ?? "0000644\0", 100);
  if (typeof size === "number") put(`${size.toString(8).padStart(11, "0")}\0`, 124);
  else block.set(size, 124);
  put(fields.type ?? "0", 156);
  put(fields.linkName ?? "", 157);
  put(fields.magic ?? USTAR, 257);
  put(fields.prefix ?? "", 345);
  for (const [offset, bytes] of Object.entries(fields.patch ?? {})) block.set(bytes, Number(offset));
  put("        ", 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(fields.checksum ?? `${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** A header with its data, padded to whole blocks; the size field says the length of the data unless given. */
export function rawMember(fields: RawHeader, data: string | Uint8Array = ""): Buffer {
  const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
  const padding = Buffer.alloc((512 - (bytes.length % 512)) % 512);
  return Buffer.concat([rawHeader({ size: bytes.length, ...fields }), bytes, padding]);
}

/** A PAX header with these records for the next member. */
export function paxMember(records: Readonly<Record<string, string>>): Buffer {
  const data = Object.entries(records).map(([key, value]) => paxRecord(key, value));
  return rawMember({ name: "PaxHeaders/x", type: "x" }, data.join(""));
}

/** `LENGTH KEY=VALUE\n`, where the length counts its own digits. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

/** A number in a field of 12 bytes, as GNU tar writes those too large for octal digits. */
export function base256(value: bigint): Buffer {
  const field = Buffer.alloc(12);
  field.writeBigUInt64BE(value, 4);
  field[0] = 0x80;
  return field;
}

/** The end marker. */
export const END = Buffer.alloc(1024);

export async function* inChunks(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

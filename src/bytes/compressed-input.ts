/** Compressed bytes on their way into a decoder: pulled chunk by chunk, counted, and named in errors. */
import { FormatError, TruncatedError } from "../errors.ts";

const NOTHING = new Uint8Array(0);

export class CompressedInput {
  /** Of the next byte, from the start of the compressed bytes. */
  offset = 0;
  readonly #format: string;
  readonly #label: string;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = NOTHING;

  constructor(format: string, label: string, chunks: AsyncIterable<Uint8Array>) {
    this.#format = format;
    this.#label = label;
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** 1 to `limit` bytes, none only at the end. A view that holds until the next call. */
  async some(limit = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) return NOTHING;
      this.#rest = next.value;
    }
    const taken = this.#rest.subarray(0, limit);
    this.#rest = this.#rest.subarray(taken.length);
    this.offset += taken.length;
    return taken;
  }

  /** Fills `target` as far as the bytes go; returns how many there were. */
  async fill(target: Uint8Array): Promise<number> {
    let got = 0;
    while (got < target.length) {
      const piece = await this.some(target.length - got);
      if (piece.length === 0) break;
      target.set(piece, got);
      got += piece.length;
    }
    return got;
  }

  /** The next `length` bytes, copied; {@link TruncatedError} where there are fewer. */
  async bytes(length: number): Promise<Uint8Array> {
    const target = new Uint8Array(length);
    if ((await this.fill(target)) < length) throw this.truncated();
    return target;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      const piece = await this.some(left);
      if (piece.length === 0) throw this.truncated();
      left -= piece.length;
    }
  }

  close(): Promise<unknown> {
    return Promise.resolve(this.#chunks.return?.());
  }

  truncated(options?: ErrorOptions): TruncatedError {
    const message = `${this.#label}: ends at byte ${this.offset} of the ${this.#format} data, before it is complete`;
    return new TruncatedError(message, options);
  }

  damaged(what: string, offset = this.offset, options?: ErrorOptions): FormatError {
    const message = `${this.#label}: bad ${this.#format} data near byte ${offset}: ${what}`;
    return new FormatError(this.#format, message, offset, options);
  }
}

/**
 * Digests as the OCI image specification writes them (image-spec descriptor.md, "Digests"):
 * `algorithm:encoded`, lowercase.
 */

/** `algorithm:encoded`, checked against the grammar; made by {@link parseDigest} and {@link digestOf} only. */
export type Digest = string & { readonly __digest: true };

const SHA256 = /^sha256:[0-9a-f]{64}$/; // nearly all there are
const GRAMMAR = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$/;
/** Length in hex digits of each algorithm that can be computed here. */
const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128, blake3: 64 };

/** Algorithms with an implementation here; a digest of any other is `unverifiable`, not corrupt. */
export type Algorithm = "sha256" | "sha384" | "sha512" | "blake3";

/** The digest in `text`, or null where the text breaks the grammar or a known algorithm's length. */
export function parseDigest(text: unknown): Digest | null {
  if (typeof text !== "string") return null;
  if (SHA256.test(text)) return text as Digest;
  if (text.length > 512 || !GRAMMAR.test(text)) return null;
  const colon = text.indexOf(":");
  const length = HEX_LENGTH[text.slice(0, colon)];
  if (
    length !== undefined &&
    !(text.length - colon - 1 === length && /^[0-9a-f]+$/.test(text.slice(colon + 1)))
  ) {
    return null;
  }
  return text as Digest;
}

/** Joins an algorithm and its hex text without a check; for values just computed. */
export function digestOf(algorithm: Algorithm, hex: string): Digest {
  return `${algorithm}:${hex}` as Digest;
}

/** The algorithm of a digest, or null where it has no implementation here. */
export function algorithmOf(digest: Digest): Algorithm | null {
  const name = digest.slice(0, digest.indexOf(":"));
  return name in HEX_LENGTH ? (name as Algorithm) : null;
}

/** The part after the colon. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

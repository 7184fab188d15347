// Makes the archives that the benches read: real tar headers, generated content.
import { createHash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  createWriteStream,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Writes a tar member by member; data may be left out (a hole of zeros). */
export class TarFile {
  constructor(path) {
    this.file = openSync(path, "w");
    this.offset = 0;
  }

  header(name, size) {
    const block = Buffer.alloc(512);
    block.write(name, 0, 100, "latin1");
    block.write("0000644\0", 100);
    block.write("0000000\0", 108);
    block.write("0000000\0", 116);
    if (size < 8 ** 11) block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
    else {
      block[124] = 0x80;
      block.writeBigUInt64BE(BigInt(size), 128);
    }
    block.write("00000000000\0", 136);
    block.write("        0", 148);
    block.write("ustar\x0000", 257);
    let sum = 0;
    for (const byte of block) sum += byte;
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return block;
  }

  add(name, data) {
    const padding = Buffer.alloc((512 - (data.length % 512)) % 512);
    this.write(Buffer.concat([this.header(name, data.length), data, padding]));
  }

  hole(name, size) {
    this.write(this.header(name, size));
    this.offset += Math.ceil(size / 512) * 512;
  }

  write(bytes) {
    writeSync(this.file, bytes, 0, bytes.length, this.offset);
    this.offset += bytes.length;
  }

  close() {
    ftruncateSync(this.file, this.offset + 1024);
    closeSync(this.file);
  }
}

function config(diffIds, created) {
  return Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created,
      config: { Cmd: ["/bin/sh"] },
      rootfs: { type: "layers", diff_ids: diffIds },
      history: diffIds.map((_, i) => ({ created, created_by: `RUN step ${i}` })),
    }),
  );
}

/** The SHA-256 of so many zeros, for ever more of them: all the digests cost no more than the last one. */
function zeroDigests() {
  const zeros = Buffer.alloc(1 << 20);
  const hash = createHash("sha256");
  let done = 0;
  return (count) => {
    for (; done < count; done += Math.min(zeros.length, count - done))
      hash.update(zeros.subarray(0, Math.min(zeros.length, count - done)));
    return hash.copy().digest("hex");
  };
}

/** One image of `count` layers that are holes of zeros, each a block longer than the last: `bytes` in all, hardly any on disk. */
export function sparseArchive(path, bytes, count) {
  const tar = new TarFile(path);
  const size = Math.floor((bytes / count - count * 256) / 512) * 512;
  const digestOf = zeroDigests();
  const layers = [];
  for (let i = 0; i < count; i++) {
    const digest = digestOf(size + i * 512);
    layers.push({ digest, name: `${digest}/layer.tar` });
    tar.hole(layers[i].name, size + i * 512);
  }
  finishArchive(tar, layers, "big:1");
}

function finishArchive(tar, layers, tag) {
  const json = config(
    layers.map(({ digest }) => `sha256:${digest}`),
    "2026-01-01T00:00:00Z",
  );
  const manifest = {
    Config: `${sha256(json)}.json`,
    RepoTags: [tag],
    Layers: layers.map(({ name }) => name),
  };
  tar.add(manifest.Config, json);
  tar.add("manifest.json", Buffer.from(JSON.stringify([manifest])));
  tar.close();
}

/** Where real content is taken from: libraries, programs, documents, scripts. */
const SYSTEM = ["/usr/lib", "/usr/bin", "/usr/share", "/usr/local", dirname(process.execPath)];
/** Parts of the whole: no two layers of an image are alike in size. */
const SHARES = [0.27, 0.2, 0.15, 0.12, 0.09, 0.07, 0.05, 0.03, 0.015, 0.005];
const FILE_LIMIT = 16 << 20;

/** Regular files below `folder`, in the order of their names. */
function* filesBelow(folder) {
  let names = [];
  try {
    names = readdirSync(folder).sort();
  } catch {} // not here, or not for us
  for (const name of names) {
    const path = join(folder, name);
    try {
      const stat = lstatSync(path);
      if (stat.isDirectory()) yield* filesBelow(path);
      else if (stat.isFile() && stat.size <= FILE_LIMIT) yield { path, data: readFileSync(path) };
    } catch {} // gone or unreadable: the next one will do
  }
}

/**
 * Layers made of this machine's own files, `bytes` in all where it has so many: tars of unequal sizes in `folder`.
 * Each: its file, its length and its digest.
 */
export function systemLayers(folder, bytes) {
  mkdirSync(folder);
  const roots = SYSTEM.map(filesBelow);
  return SHARES.map((share, i) => {
    const path = join(folder, `${i}.tar`);
    const tar = new TarFile(path);
    while (tar.offset < bytes * share && roots.length > 0) {
      const turn = i % roots.length;
      const next = roots[turn].next();
      if (next.done) roots.splice(turn, 1);
      else tar.add(next.value.path.slice(1, 100), next.value.data);
    }
    tar.close();
    return { path, size: tar.offset + 1024, digest: fileDigest(path) };
  });
}

function* pieces(path) {
  const file = openSync(path, "r");
  const buffer = Buffer.alloc(4 << 20);
  for (let got = readSync(file, buffer); got > 0; got = readSync(file, buffer)) yield buffer.subarray(0, got);
  closeSync(file);
}

function fileDigest(path) {
  const hash = createHash("sha256");
  for (const piece of pieces(path)) hash.update(piece);
  return hash.digest("hex");
}

/** One image of these layers, as `docker save` writes it. */
export function dockerArchive(path, layers) {
  const tar = new TarFile(path);
  const members = layers.map(({ digest }) => ({ digest, name: `${digest}/layer.tar` }));
  for (const [i, layer] of layers.entries()) {
    tar.write(tar.header(members[i].name, layer.size));
    for (const piece of pieces(layer.path)) tar.write(piece);
  }
  finishArchive(tar, members, "real:1");
}

/** One image of these layers compressed with gzip, as an OCI layout; returns the layers as stored. */
export async function gzipLayout(folder, layers) {
  const blobs = join(folder, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const compress = async ({ path }, i) => {
    const made = join(blobs, `${i}`);
    await pipeline(createReadStream(path), createGzip({ level: 6 }), createWriteStream(made));
    const digest = fileDigest(made);
    renameSync(made, join(blobs, digest));
    return { path: join(blobs, digest), size: statSync(join(blobs, digest)).size, digest };
  };
  const stored = await Promise.all(layers.map(compress));
  writeLayout(folder, layers, stored);
  return stored;
}

function writeLayout(folder, layers, stored) {
  const blob = (json, mediaType) => {
    const bytes = Buffer.isBuffer(json) ? json : Buffer.from(JSON.stringify(json));
    writeFileSync(join(folder, "blobs/sha256", sha256(bytes)), bytes);
    return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const oci = (name) => `application/vnd.oci.image.${name}`;
  const json = config(
    layers.map(({ digest }) => `sha256:${digest}`),
    "2026-01-01T00:00:00Z",
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: oci("manifest.v1+json"),
    config: blob(json, oci("config.v1+json")),
    layers: stored.map(({ digest, size }) => ({
      mediaType: oci("layer.v1.tar+gzip"),
      digest: `sha256:${digest}`,
      size,
    })),
  };
  const annotations = { "org.opencontainers.image.ref.name": "real:1" };
  const manifests = [{ ...blob(manifest, manifest.mediaType), annotations }];
  writeFileSync(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
}

/** A layout with one layer of `bytes` zeros, a thousandth of that on disk: a decompression bomb. */
export async function bombLayout(folder, bytes) {
  const blobs = join(folder, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const made = join(blobs, "layer");
  async function* zeros() {
    const piece = Buffer.alloc(1 << 20);
    for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, left);
  }
  await pipeline(zeros, createGzip({ level: 6, chunkSize: 1 << 18 }), createWriteStream(made));
  const digest = fileDigest(made);
  renameSync(made, join(blobs, digest));
  writeLayout(
    folder,
    [{ digest: zeroDigests()(bytes) }],
    [{ digest, size: statSync(join(blobs, digest)).size }],
  );
}

/** A generator of repeatable numbers in [0, 1). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * A registry's worth of images: `images` of them in families that share a base, teams that share layers on it, and
 * layers of their own, `layers` distinct ones in all; each layer a member of 512 to 4,096 bytes that stands for more.
 */
export function manyImages(path, images, layers) {
  const tar = new TarFile(path);
  const next = random(7);
  const known = [];
  const layer = () => {
    const data = Buffer.alloc(512 + Math.floor(next() * 8) * 512, `${known.length} `);
    const digest = sha256(data);
    tar.add(`blobs/sha256/${digest}`, data);
    known.push(digest);
    return digest;
  };
  const chain = (count) => Array.from({ length: count }, layer);
  const bases = Array.from({ length: 50 }, () => chain(5));
  const teams = Array.from({ length: 500 }, (_, i) => [...bases[i % 50], ...chain(8)]);
  const manifest = [];
  const shared = known.length;
  for (let i = 0; i < images; i++) {
    const left = layers - known.length;
    const own = Math.max(1, Math.round(left / (images - i)));
    const all = [...teams[Math.floor(next() * teams.length)], ...chain(own)];
    const created = new Date(Date.UTC(2026, 0, 1) + Math.floor(next() * 300) * 86_400_000).toISOString();
    const json = config(
      all.map((hex) => `sha256:${hex}`),
      created,
    );
    const name = `blobs/sha256/${sha256(json)}`;
    tar.add(name, json);
    const tag = `team${i % 500}/app:${Math.floor(i / 500)}`;
    manifest.push({ Config: name, RepoTags: [tag], Layers: all.map((hex) => `blobs/sha256/${hex}`) });
  }
  tar.add("manifest.json", Buffer.from(JSON.stringify(manifest)));
  tar.close();
  return { images, layers: known.length, shared };
}

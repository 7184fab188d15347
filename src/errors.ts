/**
 * All errors of the program. An error stops something; what is only damaged or unreadable is data
 * (a verdict, or a `Warning`). `cli.ts` alone prints errors and maps them to exit codes.
 */

/** Base of every error that is meant for the user: its message is one line saying what, where, what next. */
export abstract class UllageError extends Error {
  abstract readonly code: string;
}

/** The command line is wrong: exit 2. */
export class UsageError extends UllageError {
  readonly code = "usage";
}

/** A source cannot be read at all: exit 3. */
export class SourceError extends UllageError {
  readonly code = "source";
}

/** A source that may be in order, but holds no images: passed over in a folder that holds others. */
export class NoImages extends SourceError {}

/** No store in any of the places where one could be. */
export class NoStoreFound extends NoImages {
  /** The places that were tried, a line each, to be shown below the message. */
  readonly tried: readonly string[];
  constructor(message: string, tried: readonly string[]) {
    super(message);
    this.tried = tried;
  }
}

/** Bytes end before what was to be read from them. */
export class TruncatedError extends UllageError {
  readonly code = "truncated";
}

/** Bytes do not have the form they should; caught by the store reader, which turns it into a warning. */
export class FormatError extends UllageError {
  readonly code = "format";
  readonly format: string;
  /** Where in the bytes, from their start; null where no single place is at fault. */
  readonly offset: number | null;
  constructor(format: string, message: string, offset: number | null = null, options?: ErrorOptions) {
    super(message, options);
    this.format = format;
    this.offset = offset;
  }
}

/** The run was interrupted: exit 130. */
export class InterruptedError extends UllageError {
  readonly code = "interrupted";
}

/** The message of anything thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*[\r\n]+\s*/g, " ");
}

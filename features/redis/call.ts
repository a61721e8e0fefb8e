import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A Lua script beside this file, and the digest that Redis knows it by. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

export function readScript(name: string): Script {
  const text = readFileSync(new URL(name, import.meta.url), 'utf8');
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/**
 * Script calls in Redis's protocol, written into one buffer that is used again and again: a call has hundreds of arguments, and the
 * client's own way makes several objects of each.
 */
export interface CallWriter {
  /**
   * Begins a call; so many keys and other arguments have to follow.
   * @param bound at least the bytes of all arguments, each with `argumentOverhead`.
   */
  begin(script: Script, keys: number, args: number, bound: number): void;
  text(value: string): void;
  integer(value: number): void;
  /** Several f64, big-endian, as one argument. */
  doubles(count: number, numberAt: (index: number) => number): void;
  /** One argument of f64 offset, u32 expiry in seconds, and the bytes: a sub-state as it is stored. */
  subState(offset: number, expiry: number, value: Uint8Array): void;
  /** The calls written since the last reset. Views: valid until then. */
  calls(): Buffer[];
  reset(): void;
}

/** Bytes that an argument takes besides its content, at most. */
export const argumentOverhead = 16;
export const subStateHeader = 12;
const callOverhead = 128;
const firstBytes = 1 << 16;
/** A larger buffer is given back after use. */
const keptBytes = 1 << 22;

export function createCallWriter(): CallWriter {
  let out = Buffer.allocUnsafeSlow(firstBytes);
  let at = 0;
  const starts: number[] = [];

  function reserve(bytes: number): void {
    if (out.length - at >= bytes) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * out.length, at + bytes));
    out.copy(larger, 0, 0, at);
    out = larger;
  }

  function length(value: number): void {
    out[at++] = 36; // $
    let end = at + 1;
    for (let most = 10; value >= most; most *= 10) end++;
    at = end;
    let rest = value;
    do {
      out[--end] = 48 + (rest % 10);
      rest = Math.floor(rest / 10);
    } while (rest > 0);
    lineEnd();
  }

  function lineEnd(): void {
    out[at++] = 13;
    out[at++] = 10;
  }

  function text(value: string): void {
    const start = at;
    length(value.length);
    const written = out.write(value, at);
    if (written === value.length) at += written;
    else {
      at = start;
      length(written);
      at += out.write(value, at);
    }
    lineEnd();
  }

  return {
    begin(script, keys, args, bound) {
      reserve(callOverhead + bound);
      starts.push(at);
      at += out.write(`*${3 + keys + args}\r\n`, at);
      text('EVALSHA');
      text(script.sha);
      text(String(keys));
    },
    text,
    integer: (value) => text(String(value)),
    doubles(count, numberAt) {
      length(8 * count);
      for (let index = 0; index < count; index++) at = out.writeDoubleBE(numberAt(index), at);
      lineEnd();
    },
    subState(offset, expiry, value) {
      length(subStateHeader + value.length);
      at = out.writeDoubleBE(offset, at);
      at = out.writeUInt32BE(expiry, at);
      out.set(value, at);
      at += value.length;
      lineEnd();
    },
    calls: () => starts.map((start, index) => out.subarray(start, starts[index + 1] ?? at)),
    reset() {
      if (out.length > keptBytes) out = Buffer.allocUnsafeSlow(firstBytes);
      at = 0;
      starts.length = 0;
    },
  };
}

/** A plain command in Redis's protocol. */
export function encodeCommand(...words: readonly string[]): Buffer {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return Buffer.from(`*${words.length}\r\n${parts.join('')}`);
}

/** A call in Redis's protocol, and the slot group that all of its keys belong to. */
export interface GroupCall {
  readonly group: number;
  readonly bytes: Buffer;
}

/** An answer: nested arrays of buffers and numbers, or the error that Redis gave instead. */
export type Reply = Error | Buffer | number | null | readonly Reply[];

/** Payload bytes of an answer. */
export function replyBytes(reply: Reply): number {
  if (reply === null || typeof reply === 'number' || reply instanceof Error) return 0;
  if (reply instanceof Uint8Array) return reply.length;
  let bytes = 0;
  for (const part of reply) bytes += replyBytes(part);
  return bytes;
}

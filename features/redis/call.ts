import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command, type Pipeline, type Redis } from 'ioredis';

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
 * Writes one call of a script in Redis's protocol into one buffer: a call has hundreds of arguments, and the client's own way makes
 * several objects of each.
 */
export interface CallWriter {
  text(value: string): void;
  integer(value: number): void;
  bytes(value: Uint8Array): void;
  /** One argument of f64 offset, u32 expiry in seconds, and the bytes: a sub-state as it is stored. */
  subState(offset: number, expiry: number, value: Uint8Array): void;
  end(): Buffer;
}

/** Bytes that an argument takes besides its content, at most. */
export const argumentOverhead = 16;
export const subStateHeader = 12;
const callOverhead = 128;

/** @param bound at least the bytes of all arguments, each with `argumentOverhead`. */
export function writeCall(script: Script, keys: number, args: number, bound: number): CallWriter {
  const out = Buffer.allocUnsafe(callOverhead + bound);
  let at = out.write(
    `*${3 + keys + args}\r\n$7\r\nEVALSHA\r\n$40\r\n${script.sha}\r\n$${String(keys).length}\r\n${keys}\r\n`,
    0,
  );

  function length(value: number): void {
    out[at++] = 36; // $
    digits(value);
    lineEnd();
  }

  function digits(value: number): void {
    let rest = value;
    let end = at + 1;
    for (let most = 10; value >= most; most *= 10) end++;
    at = end;
    do {
      out[--end] = 48 + (rest % 10);
      rest = Math.floor(rest / 10);
    } while (rest > 0);
  }

  function lineEnd(): void {
    out[at++] = 13;
    out[at++] = 10;
  }

  return {
    text(value) {
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
    },
    integer(value) {
      const text = String(value);
      length(text.length);
      at += out.write(text, at);
      lineEnd();
    },
    bytes(value) {
      length(value.length);
      out.set(value, at);
      at += value.length;
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
    end: () => out.subarray(0, at),
  };
}

export function encodeGet(key: string): Buffer {
  return Buffer.from(`*2\r\n$3\r\nGET\r\n$${Buffer.byteLength(key)}\r\n${key}\r\n`);
}

/** An answer: nested arrays of buffers and numbers, or the error that Redis gave instead. */
export type Reply = Error | Buffer | number | null | readonly Reply[];

/** Sends the calls in one write and waits for all answers: one round trip. Errors come as values, one per call. */
export async function exchange(redis: Redis, calls: readonly Buffer[]): Promise<Reply[]> {
  const pipeline = redis.pipeline();
  for (const bytes of calls) {
    const command = new Command('evalsha', []);
    command.toWritable = () => bytes;
    (pipeline as unknown as Pipeline).sendCommand(command);
  }
  const answers = (await pipeline.exec()) as [Error | null, Reply][];
  return answers.map(([error, reply]) => error ?? reply);
}

/** Payload bytes of an answer. */
export function replyBytes(reply: Reply): number {
  if (reply === null || typeof reply === 'number' || reply instanceof Error) return 0;
  if (reply instanceof Uint8Array) return reply.length;
  let bytes = 0;
  for (const part of reply) bytes += replyBytes(part);
  return bytes;
}

import type { VirtualTime } from './clock.ts';
import type { SimulatedProcess } from './process.ts';
import type { Chance } from './random.ts';

/** What a request is for; faults strike at requests of a kind. */
export type Port =
  | 'load'
  | 'flush'
  | 'fence'
  | 'scripts'
  | 'init'
  | 'send'
  | 'offsets'
  | 'end'
  | 'position'
  | 'checkpoint'
  | 'metadata'
  | 'fetch'
  | 'join'
  | 'sync'
  | 'heartbeat'
  | 'leave'
  | 'model';

/** What becomes of one request. */
export type RequestFault =
  /** The process dies before it has sent the request, or right after. */
  | { readonly kind: 'crash'; readonly isSent: boolean }
  /** The process stands still for a while, before it has sent the request or right after. */
  | { readonly kind: 'pause'; readonly isSent: boolean; readonly forMs: number }
  /** The process stands still before it has sent the request, and goes on so long after another one asked where to begin. */
  | { readonly kind: 'overtaken'; readonly afterMs: number }
  /** The connection breaks: the request never arrives, or its answer, or it arrives long after it was given up. */
  | { readonly kind: 'request-lost' }
  | { readonly kind: 'answer-lost' }
  | { readonly kind: 'request-late'; readonly byMs: number }
  /** It takes so long; whatever goes through the same connection waits. */
  | { readonly kind: 'slow'; readonly byMs: number };

/** Requests go one way, answers the other; both keep their order within a connection. */
export interface Connection {
  /**
   * @param effect happens when the request arrives; an answer that is a promise is sent when it settles.
   * @throws what the effect throws; Lost when there is no answer.
   */
  ask<T>(port: Port, effect: () => T | Promise<T>): Promise<T>;
}

/** No answer comes: the connection is broken or was silent for too long. Named as the Kafka client names it. */
export class Lost extends Error {
  override readonly name = 'KafkaJSConnectionClosedError';
}

export interface Network {
  connect(process: SimulatedProcess): Connection;
}

export interface NetworkParts {
  readonly time: VirtualTime;
  readonly chance: Chance;
  /** Asked at each request. */
  readonly strike: (process: SimulatedProcess, port: Port) => RequestFault | undefined;
  readonly crash: (process: SimulatedProcess) => void;
  readonly pause: (process: SimulatedProcess, forMs: number) => void;
}

/** How long a broken connection takes to be noticed. */
const noticeMs = 400;
/** Keeps two in a connection apart. */
const apartMs = 0.001;

export function createNetwork({ time, chance, strike, crash, pause }: NetworkParts): Network {
  /** What wakes those that wait to be overtaken. */
  const overtaken = new Set<() => void>();

  function connect(process: SimulatedProcess): Connection {
    let requestAt = 0;
    let answerAt = 0;
    const able = () => new Promise<void>((resolve) => process.deliver(resolve));

    function ask<T>(port: Port, effect: () => T | Promise<T>): Promise<T> {
      if (process.state === 'dead') return never();
      // It was paused in the middle of what it does: the rest comes when it goes on.
      if (process.state === 'paused') return able().then(() => ask(port, effect));
      if (port === 'position') for (const wake of overtaken) wake();
      const fault = strike(process, port);
      if (fault?.kind === 'overtaken') {
        process.pause();
        overtaken.add(function wake() {
          overtaken.delete(wake);
          time.after(fault.afterMs, () => process.resume());
        });
        return able().then(() => send(effect));
      }
      if (fault?.kind === 'crash' || fault?.kind === 'pause') {
        if (!fault.isSent) {
          if (fault.kind === 'crash') {
            crash(process);
            return never();
          }
          pause(process, fault.forMs);
          return able().then(() => send(effect));
        }
        const answer = send(effect);
        if (fault.kind === 'crash') crash(process);
        else pause(process, fault.forMs);
        return answer;
      }
      if (fault?.kind === 'request-lost') return lost();
      if (fault?.kind === 'request-late') {
        time.after(noticeMs + fault.byMs, () => void attempt(effect).catch(() => undefined));
        return lost();
      }
      if (fault?.kind === 'answer-lost') {
        void send(effect).catch(() => undefined);
        return lost();
      }
      return send(effect, fault?.kind === 'slow' ? fault.byMs : 0);
    }

    function send<T>(effect: () => T | Promise<T>, slowMs = 0): Promise<T> {
      requestAt = Math.max(requestAt + apartMs, time.now() + latency() + slowMs);
      return new Promise<T>((resolve, reject) => {
        const answered = (settle: () => void) => {
          answerAt = Math.max(answerAt + apartMs, time.now() + latency());
          time.after(answerAt - time.now(), () => process.deliver(settle));
        };
        time.after(requestAt - time.now(), () => {
          attempt(effect).then(
            (result) => answered(() => resolve(result)),
            (error: unknown) => answered(() => reject(error)),
          );
        });
      });
    }

    function lost(): Promise<never> {
      return new Promise((_, reject) => {
        time.after(noticeMs, () => process.deliver(() => reject(new Lost('the connection broke: there is no answer'))));
      });
    }

    return { ask };
  }

  /** Mostly a fraction of a millisecond to a few, now and then far more. */
  function latency(): number {
    return chance.isTrue(0.03) ? chance.duration(5, 60) : chance.duration(0.1, 2);
  }

  return { connect };
}

async function attempt<T>(effect: () => T | Promise<T>): Promise<T> {
  return effect();
}

function never(): Promise<never> {
  return new Promise(() => {});
}

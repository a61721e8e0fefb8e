import type { Ownership } from './ports.ts';

/** Ownerships on their way from what gains them to the one who iterates. */
export interface Gained {
  /** Yields them, but for those that are revoked by then, until the signal aborts or there are no more. */
  until(signal: AbortSignal): AsyncGenerator<Ownership>;
  push(ownership: Ownership): void;
  end(): void;
  fail(error: unknown): void;
}

export function createGained(): Gained {
  const waiting: Ownership[] = [];
  let hasEnded = false;
  let failure: unknown;
  let wake = () => {};

  async function* until(signal: AbortSignal): AsyncGenerator<Ownership> {
    const onAbort = () => wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const next = waiting.shift();
        if (next !== undefined) {
          if (!next.revoked.aborted) yield next;
        } else if (failure !== undefined) throw failure;
        else if (hasEnded) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  return {
    until,
    push(ownership) {
      waiting.push(ownership);
      wake();
    },
    end() {
      hasEnded = true;
      wake();
    },
    fail(error) {
      failure = error;
      wake();
    },
  };
}

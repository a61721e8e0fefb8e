import { setTimeout as delay } from 'node:timers/promises';

const pollMs = 100;
const longestMs = 180_000;

/**
 * Asks again and again until there is an answer, and gives it.
 * @param what is waited for, for the error.
 * @throws Error after three minutes: whatever it is has hung.
 */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  for (const deadline = performance.now() + longestMs; performance.now() < deadline; ) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await delay(pollMs);
  }
  throw new Error(`waited for three minutes: ${what}`);
}

import { expect } from '@jest/globals';

/** Tries again, while the store refuses, until it succeeds; the test's own time limit ends what never does. */
export async function eventually<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORE' });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

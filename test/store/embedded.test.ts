import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import { systemClock } from '../../runtime/clock.ts';
import { describeStateStoreContract } from '../contract/state-store.ts';

const day = 86_400_000;

describeStateStoreContract('the embedded store', {
  async create() {
    const folder = mkdtempSync(join(tmpdir(), 'weir-embedded-'));
    return {
      open: ({ job = 'test', recipe = '0123456789ab', now = systemClock.now } = {}) =>
        createEmbeddedStore(
          { path: join(folder, 'state') },
          { job, recipe, retentionMs: () => 30 * day, clock: { now, monotonic: systemClock.monotonic } },
        ),
      remove: async () => rmSync(folder, { recursive: true, force: true }),
    };
  },
});

import { statSync } from 'node:fs';

/**
 * Preloaded (`node --import`) into a process: has it send itself the signal as soon as a file has so many bytes. It looks in the process's own
 * event loop, so the process does not come to its end unseen, however slow the one that has started it is.
 */
const { WEIR_TEST_SIGNAL, WEIR_TEST_SIGNAL_FILE, WEIR_TEST_SIGNAL_BYTES } = process.env;

const timer = setInterval(() => {
  const { size = 0 } = statSync(WEIR_TEST_SIGNAL_FILE!, { throwIfNoEntry: false }) ?? {};
  if (size < Number(WEIR_TEST_SIGNAL_BYTES)) return;
  clearInterval(timer);
  process.kill(process.pid, WEIR_TEST_SIGNAL);
}, 1);
timer.unref();

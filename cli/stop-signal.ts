/**
 * Aborts at the first SIGINT or SIGTERM, so that the work under way is finished; the second one ends the process at once.
 * `release` gives the signals back.
 */
export function stopSignal(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143);
    controller.abort();
  };
  // A worker whose supervisor is gone drains as well: nobody would restart or stop it any more.
  const onDisconnect = () => controller.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('disconnect', onDisconnect);
  return {
    signal: controller.signal,
    release: () => process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('disconnect', onDisconnect),
  };
}

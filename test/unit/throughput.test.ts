import { describe, expect, it } from '@jest/globals';
import { measureThroughput } from '../../consumers/kinesis/throughput.ts';

describe('the throughput of a shard', () => {
  it('is not known before the first window has ended', () => {
    const throughput = measureThroughput(60_000, 5);
    throughput.read(1_024_000, 1_000);
    expect(throughput.kBps(60_004)).toBeUndefined();
    expect(throughput.kBps(60_005)).toBeCloseTo(1_000 / 60);
  });

  it('follows a change by half with each window', () => {
    const throughput = measureThroughput(1_000, 0);
    throughput.read(1_024 * 100, 500);
    expect(throughput.kBps(1_000)).toBe(100);
    throughput.read(1_024 * 300, 1_500);
    expect(throughput.kBps(1_999)).toBe(100);
    expect(throughput.kBps(2_000)).toBe(200);
    expect(throughput.kBps(3_000)).toBe(100);
    expect(throughput.kBps(4_000)).toBe(50);
  });

  it('counts what comes after a window to the next', () => {
    const throughput = measureThroughput(1_000, 0);
    throughput.read(1_024 * 100, 0);
    throughput.read(1_024 * 100, 1_000);
    expect(throughput.kBps(1_000)).toBe(100);
    expect(throughput.kBps(2_000)).toBe(100);
  });
});

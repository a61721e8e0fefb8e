import { describe, expect, it } from '@jest/globals';
import { describeError } from '../../runtime/errors.ts';

const said = (...messages: string[]) =>
  describeError(messages.reduceRight<unknown>((cause, message) => new Error(message, { cause }), undefined));

describe('an error in words', () => {
  it('names each cause once', () => {
    expect(said('reading a', 'no such file')).toBe('reading a: no such file');
    expect(said('Connection error: connect ECONNREFUSED', 'Connection error: connect ECONNREFUSED')).toBe(
      'Connection error: connect ECONNREFUSED',
    );
    expect(said('Connection error: refused', 'refused', 'by the firewall')).toBe(
      'Connection error: refused: by the firewall',
    );
    expect(describeError('no\nerror')).toBe('no error');
  });
});

/** Something that must hold does not; the number is the invariant's in SPEC.md. */
export class Violation extends Error {
  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`);
  }
}

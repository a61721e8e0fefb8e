/** What a broker answers instead; the adapters go by the type, as they do with the client's own errors. */
export class ProtocolError extends Error {
  readonly type: string;
  constructor(type: string) {
    super(type);
    this.type = type;
  }
}

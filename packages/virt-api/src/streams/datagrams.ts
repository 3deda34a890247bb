/** The longest datagram that a length of two bytes can say. */
export const MAX_DATAGRAM = 65_535;

/** One datagram as the node's door takes it: after its length. */
export function framed(datagram: Uint8Array): Buffer {
  const frame = Buffer.alloc(2 + datagram.byteLength);
  frame.writeUInt16BE(datagram.byteLength);
  frame.set(datagram, 2);
  return frame;
}

/** Takes bytes as they come, answers the datagrams that are whole. Never holds more than one datagram and what came last. */
export class Deframer {
  #rest: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): Buffer[] {
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const datagrams: Buffer[] = [];
    while (data.length >= 2) {
      const end = 2 + data.readUInt16BE();
      if (data.length < end) break;
      datagrams.push(data.subarray(2, end));
      data = data.subarray(end);
    }
    this.#rest = Buffer.from(data);
    return datagrams;
  }

  /** Whether a datagram was cut off. */
  get isMidway(): boolean {
    return this.#rest.length > 0;
  }
}

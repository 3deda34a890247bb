import { TrineError } from "@trine/base";

// Bits of each symbol's code, 0 to 255 (RFC 7541, appendix B). The code is canonical: counted up by length, then by symbol.
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
  6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6,
  7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
  23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22,
  22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22,
  23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27,
  27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25,
  24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const SHORTEST = 5;
const LONGEST = 30;

/** Symbols of one length, in the order of their codes, the first of which is `first`. */
interface Row {
  readonly first: number;
  readonly symbols: readonly number[];
}

let table: readonly Row[] | undefined;

function rows(): readonly Row[] {
  if (table !== undefined) return table;
  const made: Row[] = [];
  let next = 0;
  for (let length = 0; length <= LONGEST; length++) {
    const symbols = LENGTHS.flatMap((each, symbol) => (each === length ? [symbol] : []));
    made.push({ first: next, symbols });
    next = (next + symbols.length) * 2;
  }
  table = made;
  return made;
}

/** Text of a string in Huffman's code; kind `internal` where it is none. Output is 8/5 of the input at most. */
export function decodeHuffman(bytes: Uint8Array): string {
  const all = rows();
  let text = "";
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length++;
      const row = length < SHORTEST ? undefined : all[length];
      const symbol = row?.symbols[code - row.first];
      if (symbol !== undefined) {
        text += String.fromCharCode(symbol);
        code = 0;
        length = 0;
      } else if (length >= LONGEST) {
        throw new TrineError("internal", "a header in a code that is not Huffman's");
      }
    }
  }
  // The rest of the last byte is the start of the code of all ones.
  if (length < 8 && code === 2 ** length - 1) return text;
  throw new TrineError("internal", "a header ends within a symbol");
}

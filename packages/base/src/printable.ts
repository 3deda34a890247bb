/** Text of a guest as one line for logs and messages: at most `limit` characters, nothing that moves a terminal. */
export function printable(text: string, limit: number): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replaceAll(
    // eslint-disable-next-line no-control-regex -- those are what must not come through
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g,
    " ",
  );
}

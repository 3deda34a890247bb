/** The API server, as far as reviews go: they are asked by POST and stored nowhere. */
export interface Reviewer {
  request(
    method: "POST",
    path: string,
    access: { readonly body: string },
  ): Promise<Readonly<Record<string, unknown>>>;
}

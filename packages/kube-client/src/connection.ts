/** Bytes that are known, or in a file that may be replaced while we run. */
export type Material = { readonly text: string } | { readonly path: string };

/** How the API server is reached, and as whom. */
export interface KubeConnection {
  /** `https:` only; a path in it stands before all paths. */
  readonly server: URL;
  /** The namespace that is meant where none is named. */
  readonly namespace: string;
  /** PEM. Left out: the authorities that Node knows. */
  readonly authority?: Material;
  readonly clientCertificate?: Material;
  readonly clientKey?: Material;
  readonly token?: Material;
  /** The name in the server's certificate, where it is not the one in `server`. */
  readonly serverName?: string;
  /** The server's certificate is not looked at. */
  readonly insecure?: boolean;
}

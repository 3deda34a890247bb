/** The user that this program is to the API server, by its service account in deploy/. */
export function controlAccount(namespace: string): string {
  return `system:serviceaccount:${namespace}:trine-control`;
}

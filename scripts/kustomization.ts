/**
 * A list of files for kustomize. It is called `Kustomization`, without an ending: `kubectl apply -f DIR` leaves it alone,
 * so that the directory can be taken both ways.
 */
export function kustomization(files: readonly string[]): string {
  const lines = files.map((file) => `  - ${file}\n`).join("");
  return `apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n${lines}`;
}

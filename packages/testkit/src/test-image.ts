/** An image as it lies in the cache: an OCI archive and the name it gets in containerd. */
export interface TestImage {
  name: string;
  archive: string;
}

import type { KubeClient } from "@trine/kube-client";
import type { KubeControlPlane } from "@trine/testkit";

/** A real API server with our kinds, no other controllers, and a client who may do everything. */
export interface ControlUnderTest {
  readonly dir: string;
  readonly plane: KubeControlPlane;
  readonly client: KubeClient;
}

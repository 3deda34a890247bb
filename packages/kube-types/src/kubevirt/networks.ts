import { type Infer, boolean, needed, object, string } from "../schema/schema.ts";

const podNetwork = object({ vmNetworkCIDR: string(), vmIPv6NetworkCIDR: string() });

const multusNetwork = object({ networkName: needed(string()), default: boolean() });

const claimRequest = object({ claimName: string(), requestName: string() });

export const network = object({
  name: needed(string()),
  pod: podNetwork,
  multus: multusNetwork,
  resourceClaim: claimRequest,
});
export type Network = Infer<typeof network>;

import { whole } from "../schema/kind.ts";
import { type Infer, needed, object, string } from "../schema/schema.ts";

const uploadTokenRequestSpec = object({ pvcName: needed(string()) });

const uploadTokenRequestStatus = object({ token: string() });

export const uploadTokenRequest = whole({
  spec: needed(uploadTokenRequestSpec),
  status: uploadTokenRequestStatus,
});
export type UploadTokenRequest = Infer<typeof uploadTokenRequest>;

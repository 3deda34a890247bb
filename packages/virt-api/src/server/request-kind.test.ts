import { expect, test } from "vitest";
import { requestKind } from "./request-kind.ts";

const AT = "/apis/subresources.kubevirt.io/v1/namespaces/shop";

test.each([
  ["PUT", `${AT}/virtualmachines/web/start`, "update", "virtualmachines/start"],
  [
    "GET",
    `${AT}/virtualmachineinstances/web/vnc/screenshot`,
    "get",
    "virtualmachineinstances/vnc/screenshot",
  ],
  [
    "GET",
    `${AT}/virtualmachineinstances/web/portforward/22/tcp`,
    "get",
    "virtualmachineinstances/portforward",
  ],
  ["PUT", `${AT}/expand-vm-spec`, "update", "expand-vm-spec"],
  ["POST", "/virtualmachines-validate", "create", "webhook/virtualmachines-validate"],
  [
    "POST",
    "/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/shop/uploadtokenrequests",
    "create",
    "uploadtokenrequests",
  ],
  // Of what strangers make up there is one kind.
  ["GET", "/version", "get", "other"],
  ["GET", `${AT}/virtualmachines/web/made-up-${"x".repeat(99)}`, "get", "other"],
  ["BREW", `${AT}/virtualmachines/web/__proto__`, "other", "other"],
  ["constructor", "/toString", "other", "other"],
])("%s %s is %s of %s", (method, path, verb, resource) => {
  expect(requestKind(method, path)).toEqual({ verb, resource });
});

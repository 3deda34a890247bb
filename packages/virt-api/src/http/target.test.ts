import { expect, test } from "vitest";
import { attributesOf, parseTarget } from "./target.ts";

const BASE = "/apis/subresources.kubevirt.io/v1/namespaces/ns";

test.each([
  ["GET", `${BASE}/virtualmachineinstances/a/console`, "get", "virtualmachineinstances", "console"],
  ["PUT", `${BASE}/virtualmachines/a/start`, "update", "virtualmachines", "start"],
  [
    "GET",
    `${BASE}/virtualmachineinstances/a/vnc/screenshot`,
    "get",
    "virtualmachineinstances",
    "vnc/screenshot",
  ],
  ["GET", `${BASE}/virtualmachines/a/portforward/22/tcp`, "get", "virtualmachines", "portforward"],
  [
    "PUT",
    `${BASE}/virtualmachines/a/evacuate/cancel`,
    "update",
    "virtualmachines",
    "evacuate/cancel",
  ],
])("%s %s needs %s of %s/%s", (method, path, verb, resource, subresource) => {
  const target = parseTarget(path);
  expect(target && attributesOf(method, target)).toEqual({
    verb,
    group: "subresources.kubevirt.io",
    version: "v1",
    namespace: "ns",
    resource,
    subresource,
    name: "a",
  });
});

test("expand-vm-spec is a right of its own, without a name", () => {
  const target = parseTarget(`${BASE}/expand-vm-spec`);
  expect(target && attributesOf("PUT", target)).toEqual({
    verb: "update",
    group: "subresources.kubevirt.io",
    version: "v1",
    namespace: "ns",
    resource: "expand-vm-spec",
  });
});

test.each([
  ["another group", "/apis/kubevirt.io/v1/namespaces/ns/virtualmachines/a/start"],
  ["another version", "/apis/subresources.kubevirt.io/v2/namespaces/ns/virtualmachines/a/start"],
  ["another resource", `${BASE}/pods/a/start`],
  ["no subresource", `${BASE}/virtualmachines/a`],
  ["an empty part", `${BASE}/virtualmachines/a//start`],
  ["a way up", `${BASE}/virtualmachines/../start`],
  ["an encoded slash", `${BASE}/virtualmachines/a%2fb/start`],
  ["capitals", `${BASE}/virtualmachines/A/start`],
  ["no namespace", "/apis/subresources.kubevirt.io/v1/virtualmachines/a/start"],
  ["a long name", `${BASE}/virtualmachines/${"a".repeat(300)}/start`],
])("%s is no target", (_, path) => {
  expect(parseTarget(path)).toBeUndefined();
});

test("a method that no right covers has none", () => {
  const target = parseTarget(`${BASE}/virtualmachines/a/start`);
  expect(target && attributesOf("TRACE", target)).toBeUndefined();
  expect(target && attributesOf("constructor", target)).toBeUndefined();
});

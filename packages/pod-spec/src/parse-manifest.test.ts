import { stringify } from "yaml";
import { expect, test } from "vitest";
import { parseManifest } from "./parse-manifest.ts";

function manifest(spec: object, container: object = {}): string {
  const containers = [{ name: "main", image: "busybox:1", ...container }];
  return stringify({
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "web" } },
    spec: { containers, ...spec },
  });
}

test("reads several documents, Lists and JSON; sources belong to a namespace", () => {
  const text = [
    manifest({}),
    "---\napiVersion: v1\nkind: Secret\nmetadata: { name: s, namespace: team }",
    "data: { a: aGk= }\nstringData: { b: text }\n---\n",
    '{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap",',
    '"metadata":{"name":"c"},"data":{"k":"v"}}]}',
  ].join("\n");
  const { pods, sources } = parseManifest(text, "f");
  expect(pods.map(({ metadata }) => [metadata.namespace, metadata.name])).toEqual([
    ["default", "web"],
  ]);
  expect(String(sources.secrets.get("team/s")?.get("a"))).toBe("hi");
  expect(String(sources.secrets.get("team/s")?.get("b"))).toBe("text");
  expect(String(sources.configMaps.get("default/c")?.get("k"))).toBe("v");
});

test.each([
  [manifest({ hostnam: "x" }), /spec\.hostnam: no such field/],
  [manifest({ affinity: {} }), /spec\.affinity: not supported: it needs a cluster/],
  [
    manifest({}, { livenessProbe: {} }),
    /spec\.containers\[0\]\.livenessProbe: not supported: there is/,
  ],
  [manifest({}, { image: undefined }), /spec\.containers\[0\]\.image: is missing/],
  [manifest({}, { name: "Main" }), /spec\.containers\[0\]\.name: lower-case/],
  [manifest({}, { env: [{ name: "A", value: 1 }] }), /env\[0\]\.value: is 1, wanted: string/],
  [manifest({}, { volumeMounts: [{ name: "v", mountPath: "/v" }] }), /no volume v in the pod/],
  [
    manifest({}, { volumeMounts: [{ name: "v", mountPath: "/v", subPath: "../x" }] }),
    /without \.\./,
  ],
  [manifest({}, { resources: { limits: { cpu: "x" } } }), /limits\.cpu: a quantity/],
  [manifest({}, { resources: { limits: { "nvidia.com/gpu": 1 } } }), /no such field/],
  [
    manifest({}, { resources: { limits: { cpu: "1" }, requests: { cpu: "1500m" } } }),
    /more than the limit/,
  ],
  [manifest({}, { ports: [{ containerPort: 0 }] }), /containerPort/],
  [manifest({}, { restartPolicy: "Always" }), /only init containers have one/],
  [
    manifest({}, { securityContext: { privileged: true, allowPrivilegeEscalation: false } }),
    /privileged with/,
  ],
  [manifest({ volumes: [{ name: "v" }] }), /volumes\[0\]: exactly one source/],
  [
    manifest({ volumes: [{ name: "v", emptyDir: {}, hostPath: { path: "/" } }] }),
    /exactly one source/,
  ],
  [manifest({ volumes: [{ name: "v", emptyDir: { sizeLimit: "1Mi" } }] }), /medium Memory only/],
  [manifest({ volumes: [{ name: "v", hostPath: { path: "/a/../b" } }] }), /must not contain/],
  [manifest({ dnsPolicy: "None" }), /dnsConfig\.nameservers: is empty/],
  [manifest({ containers: [] }), /a container is wanted/],
  [manifest({}) + "---\n" + manifest({}), /default\/web comes twice/],
  ["kind: Deployment", /kind "Deployment" is not run here/],
  ["kind: Pod\nkind: Pod", /unique/],
  ["a: [", /document 1/],
  ["", /no Pod in it/],
  ["[]", /is not run here/],
  [`a: &a [x]\nb: &b [${"*a,".repeat(60)}]\nc: [${"*b,".repeat(60)}]`, /alias/],
  ["x".repeat(9 * 1024 * 1024), /more than 8388608 bytes/],
])("refuses, kind invalid, with the field's path: case %#", (text, says) => {
  expect(() => parseManifest(text, "f.yaml")).toThrow(
    expect.objectContaining({ kind: "invalid", message: expect.stringMatching(says) as string }),
  );
});

test("tells all problems of a document at once, but no more than twenty", () => {
  const env = Array.from({ length: 30 }, () => ({ nam: "x" }));
  expect(() => parseManifest(manifest({}, { env }), "f")).toThrow(
    /env\[9\]\.nam: no such.*and \d+ more$/,
  );
});

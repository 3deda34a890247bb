import { expect, test } from "vitest";
import { specFaults, refusals, type ByPath } from "../testing.ts";
import { DATA_VOLUME_FAULTS, volume, from, sha256, modes } from "../testing/faults/data-volume.ts";

test.each(refusals(DATA_VOLUME_FAULTS))("$what is refused", ({ fields, faults }) => {
  const told = specFaults(volume, fields).map((fault) => fault.replace(/^spec /, " "));
  expect(told).toEqual(faults);
});

test.each<[string, ByPath]>([
  ["http", {}],
  ["http with a checksum", from({ http: { url: "http://h/d", checksum: `sha256:${sha256}` } })],
  ["a registry", from({ registry: { url: "docker://registry/disk:1" } })],
  ["an image of the node", from({ registry: { imageStream: "s", pullMethod: "node" } })],
  ["a copy, which has its size", { ...from({ pvc: { namespace: "n", name: "a" } }), storage: {} }],
  ["a reference", { source: undefined, sourceRef: { kind: "DataSource", name: "d" }, storage: {} }],
  ["an upload into a claim", { ...from({ upload: {} }), ...modes("ReadWriteOnce") }],
  ["an archive by http", { contentType: "archive" }],
])("%s is taken", (_, fields) => {
  expect(specFaults(volume, fields)).toEqual([]);
});

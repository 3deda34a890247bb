// The files under deploy/ are configuration of other programs: nothing else would notice a wrong name.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse as parseToml } from "smol-toml";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import {
  HANDLERS,
  HANDLER_MICROVM,
  HANDLER_VM,
  POD_ANNOTATION_PATTERNS,
  RUNTIME_MICROVM,
  RUNTIME_VM,
} from "./runtimes.ts";

const read = (name: string): Promise<string> =>
  readFile(join(import.meta.dirname, "../../../deploy", name), "utf8");

const handler = (runtimeType: string): object => ({
  runtime_type: runtimeType,
  pod_annotations: [...POD_ANNOTATION_PATTERNS],
  privileged_without_host_devices: true,
  options: { TypeUrl: "io.containerd.trine.v1.options", ConfigPath: "/run/trine" },
});

test.each([
  ["containerd-1.toml", 2, "io.containerd.grpc.v1.cri"],
  ["containerd-2.toml", 3, "io.containerd.cri.v1.runtime"],
])("%s has both handlers and nothing else", async (file, version, plugin) => {
  const runtimes = {
    [HANDLER_VM]: handler(RUNTIME_VM),
    [HANDLER_MICROVM]: handler(RUNTIME_MICROVM),
  };
  expect(parseToml(await read(`containerd/${file}`))).toEqual({
    version,
    plugins: { [plugin]: { containerd: { runtimes } } },
  });
});

test("there is a RuntimeClass for each handler, under its name", async () => {
  const documents = parseAllDocuments(await read("kubernetes/runtimeclasses.yaml"));
  expect(documents.map((document) => document.toJS() as unknown)).toEqual(
    HANDLERS.map(
      (name) =>
        expect.objectContaining({
          apiVersion: "node.k8s.io/v1",
          kind: "RuntimeClass",
          metadata: { name },
          handler: name,
        }) as object,
    ),
  );
});

test("stopping trined.service leaves machines and the shims' sockets alone", async () => {
  const unit = await read("systemd/trined.service");
  for (const line of [
    "KillMode=process",
    "RuntimeDirectory=trine",
    "RuntimeDirectoryPreserve=yes",
    "Restart=always",
    "Slice=trine.slice",
    "Delegate=yes",
  ]) {
    expect(unit.split("\n")).toContain(line);
  }
  // V8 needs pages that are written and then run.
  expect(unit).not.toMatch(/^MemoryDenyWriteExecute=yes/m);
});

// Volumes of a cluster's node as claims take them, and what becomes of the DataVolumes on them.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { DataVolume } from "@trine/kube-types";
import { type KubeObject, runCommand } from "@trine/testkit";
import { LoopDevice } from "./loop-device.ts";
import { LONG_MS, type MachinesUnderTest } from "./machines-under-test.ts";

export type Volume = DataVolume & KubeObject;

/** The cluster's first. */
export const NODE = "node-1";
export const MIB = 1024 * 1024;

interface Fields {
  readonly [field: string]: unknown;
}

/** Each volume's storage class has its name, so that a claim finds it. */
export class VolumesUnderTest {
  readonly #at: MachinesUnderTest;
  readonly #undo: (() => Promise<unknown>)[] = [];
  readonly #names: string[] = [];
  readonly #namespaces: string[] = [];

  constructor(at: MachinesUnderTest) {
    this.#at = at;
  }

  /** A directory of the node. */
  async directory(name: string, more: Fields = {}): Promise<string> {
    const path = this.#path(name);
    await mkdir(path);
    await this.#volume(name, { hostPath: { path }, ...more });
    return path;
  }

  /** A file system of its own, of that size; answers where it is. */
  async small(name: string, bytes: number): Promise<string> {
    const loop = await this.#loop(name, bytes);
    const path = await this.directory(name);
    await runCommand("mkfs.ext4", ["-q", "-m0", loop.path]);
    await runCommand("mount", [loop.path, path]);
    this.#undo.push(() => runCommand("umount", [path]));
    return path;
  }

  /** A block device of the node. */
  async block(name: string, bytes: number): Promise<LoopDevice> {
    const loop = await this.#loop(name, bytes);
    await this.#volume(name, {
      volumeMode: "Block",
      local: { path: loop.path },
      nodeAffinity: onNode(NODE),
    });
    return loop;
  }

  /** An object of the class of that name, which nothing but who asks for it needs. */
  async storageClass(
    name: string,
    volumeBindingMode: "Immediate" | "WaitForFirstConsumer",
  ): Promise<void> {
    await this.#at.create({
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name },
      provisioner: "kubernetes.io/no-provisioner",
      volumeBindingMode,
    });
    this.#undo.push(() => this.#at.kubectl.run("delete", "storageclass", name));
  }

  /** With all that will be in it, it goes first. */
  async namespace(name: string): Promise<void> {
    await this.#at.kubectl.run("create", "namespace", name);
    this.#namespaces.push(name);
  }

  /** `user`: in whose name, else the cluster's administrator. */
  async fill(name: string, source: object, more: Fields = {}, user?: string): Promise<void> {
    const resources = { requests: { storage: "256Mi" } };
    const volume = {
      apiVersion: "cdi.kubevirt.io/v1beta1",
      kind: "DataVolume",
      metadata: { name },
      spec: { source, storage: { storageClassName: name, resources, ...more } },
    };
    const as = user === undefined ? [] : [`--as=${user}`];
    await this.#at.kubectl.runWith(JSON.stringify(volume), "create", "-f", "-", ...as);
  }

  until(name: string, what: string, isSo: (volume: Volume) => boolean): Promise<Volume> {
    return this.#at.kubectl.until<Volume>(`${name} ${what}`, ["dv", name], isSo, 2 * LONG_MS);
  }

  untilPhase(name: string, phase: string): Promise<Volume> {
    return this.until(name, `is ${phase}`, ({ status }) => status?.phase === phase);
  }

  condition({ status }: Volume, type: string): string {
    const found = status?.conditions?.find((each) => each.type === type);
    return `${found?.status ?? ""} ${found?.reason ?? ""}: ${found?.message ?? ""}`;
  }

  /** Takes all of it away; claims and DataVolumes of the names go too. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { kubectl } = this.#at;
    for (const name of this.#namespaces) {
      await kubectl.run("delete", "namespace", name, "--timeout=120s");
    }
    const names = ["--ignore-not-found", "--timeout=60s", ...this.#names];
    if (this.#names.length > 0) {
      await kubectl.run("delete", "dv,pvc", ...names);
      const fillers = "--selector=trine.dev/fills";
      await kubectl.run("wait", "--for=delete", "pod", fillers, "--timeout=60s");
      await kubectl.run("delete", "pv", ...names);
    }
    for (const undo of this.#undo.reverse()) await undo();
  }

  #path(name: string): string {
    return join(this.#at.cluster.node.dir, `volume-${name}`);
  }

  async #loop(name: string, bytes: number): Promise<LoopDevice> {
    const loop = await LoopDevice.make(`${this.#path(name)}.device`, bytes);
    this.#undo.push(() => loop[Symbol.asyncDispose]());
    return loop;
  }

  async #volume(name: string, spec: Fields): Promise<void> {
    await this.#at.create({
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name },
      spec: {
        capacity: { storage: "1Gi" },
        accessModes: ["ReadWriteOnce"],
        storageClassName: name,
        persistentVolumeReclaimPolicy: "Retain",
        ...spec,
      },
    });
    this.#names.push(name);
  }
}

function onNode(node: string): object {
  const matchExpressions = [{ key: "kubernetes.io/hostname", operator: "In", values: [node] }];
  return { required: { nodeSelectorTerms: [{ matchExpressions }] } };
}

// A machine of level vm under kubelet, which is on the gateway's socket: a manifest as it was written for Virtlet, its disk fetched by
// URL. Logins by its key and what our agent adds are in kubelet-agent, in a whole Debian.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { runCommand, tinyGuestDisk } from "@trine/testkit";
import { afterAll, expect, test } from "vitest";
import { type KubeUnderTest, LONG_MS } from "./kubelet-pods.ts";
import { figuresOf, forwarded, hostname } from "./kubelet-streams.ts";
import { makeSshKey } from "./ssh-login.ts";

const READY = "TINY-GUEST READY";
const VIRTLETS = "cirros-vm";
const NAME = "virtlet.cloud/cirros";

/** Virtlet's own example of a pod, with a key and a file for the guest. */
const virtletPod = (key: string): string => `
apiVersion: v1
kind: Pod
metadata:
  name: ${VIRTLETS}
  annotations:
    # This tells CRI Proxy that this pod belongs to Virtlet runtime
    kubernetes.io/target-runtime: virtlet.cloud
    VirtletDiskDriver: virtio
    VirtletSSHKeys: |
      ${key.trim()}
    VirtletCloudInitUserData: |
      write_files:
      - path: /etc/from-manifest
        content: seen
spec:
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions:
          - key: extraRuntime
            operator: In
            values:
            - virtlet
  containers:
  - name: ${VIRTLETS}
    image: ${NAME}
    imagePullPolicy: IfNotPresent
    # tty and stdin required for \`kubectl attach -t\` to work
    tty: true
    stdin: true
    resources:
      limits:
        memory: 256Mi
`;

/** A server of disks, and what the gateway has to know of it. */
export class MachineImages {
  readonly dir: string;
  readonly asked: string[] = [];
  readonly #server: Server;

  private constructor(dir: string, server: Server) {
    this.dir = dir;
    this.#server = server;
  }

  static async start(): Promise<MachineImages> {
    const disk = await readFile(await tinyGuestDisk());
    const dir = await mkdtemp(join(tmpdir(), "tm-"));
    const server = createServer();
    const images = new MachineImages(dir, server);
    server.on("request", ({ method = "", url = "" }, response) => {
      images.asked.push(`${method} ${url}`);
      response.writeHead(200, { "content-length": disk.length }).end(disk);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return images;
  }

  /** Lines below `gateway` in trined's configuration. */
  get config(): string[] {
    return [
      "rules: [{ targetRuntime: virtlet.cloud, backEnd: containerd, useHandler: trine-vm }]",
      `urlImages: { mappings: ${this.dir} }`,
    ];
  }

  /** Virtlet's example of a mapping, with the server of the test. */
  async map(): Promise<void> {
    const { port } = this.#server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/cirros-disk.img`;
    await writeFile(
      join(this.dir, "images.yaml"),
      `translations:\n- { name: cirros, url: "${url}" }\n`,
    );
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.dir, { recursive: true });
  }
}

/** Makes it, so that it boots while other tests run. */
export async function startMachine(kube: KubeUnderTest, images: MachineImages): Promise<void> {
  await images.map();
  const key = join(kube.cluster.node.dir, "key");
  await makeSshKey(key, "me@localhost");
  await kube.kubectl.run("label", "node", kube.cluster.nodeName, "extraRuntime=virtlet");
  await kube.kubectl.runWith(virtletPod(await readFile(`${key}.pub`, "utf8")), "apply", "-f", "-");
}

export function machineTests(kube: () => KubeUnderTest, images: () => MachineImages): void {
  afterAll(async () => {
    await kube().remove(VIRTLETS);
  }, LONG_MS);

  test(
    "a manifest for Virtlet runs as it is: disk by URL, key, user-data, logs, console, port-forward, figures",
    async () => {
      const { kubectl } = kube();
      await kube().ready(VIRTLETS);
      expect(images().asked).toEqual(["GET /cirros-disk.img"]);
      await pollUntil("its console is in the log", { ms: LONG_MS, everyMs: 500 }, async () =>
        (await kubectl.run("logs", VIRTLETS)).includes(READY) ? true : undefined,
      );
      expect(await kubectl.run("logs", VIRTLETS)).toMatch(
        /TINY-GUEST SEED nocloud name=cirros-vm user-data: #cloud-config/,
      );

      // With a terminal, as the manifest has it: `script` makes it on this side.
      const line = kubectl.command("attach", "-q", "-it", VIRTLETS).join(" ");
      const attached = spawn("script", ["-qefc", line, "/dev/null"], { stdio: "pipe" });
      try {
        let said = "";
        attached.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
        attached.stdin.on("error", () => undefined); // told by what is not said
        await pollUntil("the console's shell answers", { ms: LONG_MS, everyMs: 2_000 }, () => {
          attached.stdin.write("echo it-$((40+2))\r");
          return said.includes("it-42") ? true : undefined;
        });
      } finally {
        attached.kill();
      }

      const forward = kubectl.start("port-forward", VIRTLETS, ":8080");
      try {
        const port = await forwarded(forward.stdout);
        expect(await hostname("127.0.0.1", port, "/")).toContain(VIRTLETS);
      } finally {
        forward.kill();
      }
      await figuresOf(kube(), VIRTLETS, VIRTLETS);
    },
    2 * LONG_MS,
  );

  test(
    "without our agent a command runs; a terminal, input and so cp are refused with the reason",
    async () => {
      const { kubectl } = kube();
      const words = ["exec", VIRTLETS, "--", "sh", "-c"];
      const seed =
        "for d in /dev/vd? /dev/sr0; do mount -t iso9660 -o ro $d /run/seed 2>/dev/null && cat /run/seed/*-data && umount /run/seed; done; true";
      const told = await pollUntil("its qemu-guest-agent answers", { ms: LONG_MS }, () =>
        kubectl.run(...words, seed).catch(() => undefined),
      );
      expect(told).toContain("from-manifest");
      expect(told).toContain((await readFile(keyFile(kube()), "utf8")).trim().split(" ")[1]);
      // Of 256 MiB, what the machine itself costs is taken off.
      const total = /\d+/.exec(await kubectl.run(...words, "grep MemTotal /proc/meminfo"));
      expect(Number(total?.[0]) / 1024).toBeGreaterThan(80);
      expect(Number(total?.[0]) / 1024).toBeLessThan(160);

      const input = kubectl.runWith("in", "exec", "-i", VIRTLETS, "--", "cat");
      await expect(input).rejects.toThrow(/agent/);
      const terminal = kubectl.command("exec", "-it", VIRTLETS, "--", "tty").join(" ");
      expect(await runCommand("script", ["-qfc", terminal, "/dev/null"])).toMatch(/agent/);
      const copied = kubectl.run("cp", keyFile(kube()), `${VIRTLETS}:/tmp/key`);
      await expect(copied).rejects.toThrow(/agent/);
    },
    2 * LONG_MS,
  );
}

/** The public key in the manifest. */
const keyFile = (kube: KubeUnderTest): string => join(kube.cluster.node.dir, "key.pub");

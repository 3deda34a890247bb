// A pod behind gVisor under kubelet, which is on the gateway's socket: what works as under runc, and what does not.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GVISOR_CLASS, addGvisor } from "./gvisor-handler.ts";
import { type KubeUnderTest, LONG_MS, container } from "./kubelet-pods.ts";
import { WEB, figuresOf, forwarded, hostname } from "./kubelet-streams.ts";

const POD = "behind-gvisor";

export function gvisorTests(kube: () => KubeUnderTest): void {
  beforeAll(async () => {
    await addGvisor(kube().cluster.node.containerd);
    await kube().kubectl.apply(GVISOR_CLASS, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: POD },
      spec: {
        runtimeClassName: "gvisor",
        terminationGracePeriodSeconds: 2,
        automountServiceAccountToken: false,
        containers: [
          container("web", { command: ["sh", "-c", WEB] }),
          container("main", {
            stdin: true,
            command: ["sh", "-c", "echo begun; while read line; do echo got $line; done"],
          }),
        ],
      },
    });
    await kube().ready(POD);
  }, 3_600_000);

  afterAll(async () => {
    await kube().remove(POD);
  }, LONG_MS);

  test("logs -f, attach -i, exec with bytes, terminal and status, cp, figures and the pod's address are as under runc", async () => {
    const { kubectl } = kube();
    // It is gVisor's kernel that answers.
    expect(await kube().sh(POD, "main", "dmesg")).toContain("gVisor");

    const follow = kubectl.start("logs", "-f", POD, "-c", "main");
    const attached = kubectl.start("attach", "-q", "-i", POD, "-c", "main");
    try {
      let log = "";
      follow.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString()));
      attached.stdin?.write("one\n");
      await pollUntil(
        "the log has it",
        { ms: LONG_MS },
        () => log.includes("got one") || undefined,
      );
      expect(log).toBe("begun\ngot one\n");
    } finally {
      follow.kill();
      attached.kill();
    }

    const input = "x".repeat(300_000);
    const count = ["exec", "-i", POD, "-c", "main", "--", "wc", "-c"];
    expect((await kubectl.runWith(input, ...count)).trim()).toBe("300000");
    await expect(kube().sh(POD, "main", "echo oh >&2; exit 7")).rejects.toThrow(/7: oh/);
    const said = await kube().terminal(POD, "main", "test -t 0 && test -t 1 && echo it is");
    expect(said).toContain("it is\r\n");

    const dir = join(kube().cluster.node.dir, "cp-gvisor");
    await mkdir(join(dir, "in"), { recursive: true });
    await writeFile(join(dir, "in/f"), "z".repeat(100_000));
    await kubectl.run("cp", join(dir, "in"), `${POD}:/tmp/in`, "-c", "main");
    await kubectl.run("cp", `${POD}:tmp/in`, join(dir, "out"), "-c", "main");
    expect(await readFile(join(dir, "out/f"))).toHaveLength(100_000);

    const { podIP = "" } = (await kube().pod(POD)).status;
    expect(await hostname(podIP, 8080)).toBe(POD);
    expect(await kube().sh(POD, "main", "wget -q -O - http://127.0.0.1:8080/hostname")).toBe(POD);
    await figuresOf(kube(), POD, "main");
  });

  // docs/reference/gvisor.md: containerd dials in the pod's network namespace, and what listens is in gVisor's stack.
  test("port-forward is refused by what is not there to be dialled", async () => {
    const forward = kube().kubectl.start("port-forward", POD, ":8080");
    let errors = "";
    forward.stderr?.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    try {
      const port = await forwarded(forward.stdout);
      await expect(hostname("127.0.0.1", port)).rejects.toThrow();
      await pollUntil("kubectl says why", { ms: LONG_MS }, () =>
        /connection refused|failed to (connect|dial)/i.test(errors) ? true : undefined,
      );
    } finally {
      forward.kill();
    }
  });
}

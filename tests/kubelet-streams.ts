// What a person does to a pod that runs: logs, exec, attach, port-forward, cp, debug, figures.
import { once } from "node:events";
import { connect } from "node:net";
import { request } from "node:http";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { freePort } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  BUSYBOX,
  type KubeUnderTest,
  LEVELS,
  LONG_MS,
  SLEEP,
  container,
  pods,
  podOf,
  statusOf,
} from "./kubelet-pods.ts";

const NAME = "streams";
/** The host's rules for them hold for all of its addresses: nobody else may use them. Chosen when the pod is made. */
let hostPorts = { runc: 0, microvm: 0 };

/** Serves its host name. */
export const WEB =
  "mkdir /tmp/w; printf %s $(hostname) > /tmp/w/hostname; exec httpd -f -p 8080 -h /tmp/w";

/** The pod with all of it; `hostPort` is its own at each level. */
async function streamObjects(): Promise<object[]> {
  hostPorts = { runc: await freePort(), microvm: await freePort() };
  const spec = (hostPort: number): object => ({
    containers: [
      container("web", {
        command: ["sh", "-c", WEB],
        ports: [{ containerPort: 8080, hostPort }],
      }),
      container("main", {
        stdin: true,
        command: [
          "sh",
          "-c",
          "echo begun; while read line; do echo got $line; done; exec sleep 100000",
        ],
      }),
    ],
  });
  return [
    ...pods(NAME, spec(hostPorts.runc), ["runc"]),
    ...pods(NAME, spec(hostPorts.microvm), ["microvm"]),
  ];
}

export function streamTests(kube: () => KubeUnderTest): void {
  beforeAll(async () => {
    await kube().kubectl.apply(...(await streamObjects()));
  }, LONG_MS);

  afterAll(async () => {
    await kube().remove(...LEVELS.map((level) => podOf(NAME, level)));
  }, LONG_MS);

  const both = <T>(act: (pod: string) => Promise<T>): Promise<{ runc: T; microvm: T }> =>
    kube().both(NAME, async (pod) => {
      await kube().ready(pod);
      return act(pod);
    });

  test("attach -i feeds a container, logs -f follows it", async () => {
    const seen = await both(async (pod) => {
      const follow = kube().kubectl.start("logs", "-f", pod, "-c", "main");
      // It goes on as long as the container does.
      const attached = kube().kubectl.start("attach", "-q", "-i", pod, "-c", "main");
      try {
        let log = "";
        follow.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString()));
        attached.stdin?.write("one\ntwo\n");
        const isThere = (): true | undefined => log.includes("got two") || undefined;
        await pollUntil("the log has it", { ms: LONG_MS }, isThere);
        return log;
      } finally {
        follow.kill();
        attached.kill();
      }
    });
    expect(seen.runc).toBe("begun\ngot one\ngot two\n");
    expect(seen.microvm).toBe(seen.runc);
  });

  test("exec -i carries bytes both ways and the program's exit status", async () => {
    const input = "x".repeat(300_000);
    const seen = await both(async (pod) => {
      const sent = await kube().kubectl.runWith(
        input,
        "exec",
        "-i",
        pod,
        "-c",
        "main",
        "--",
        "wc",
        "-c",
      );
      const failed = await kube()
        .kubectl.run("exec", pod, "-c", "main", "--", "sh", "-c", "echo oh >&2; exit 7")
        .catch((cause: unknown) => String(cause).replace(/^.*ended with/s, ""));
      return `${sent.trim()} ${failed}`;
    });
    expect(seen.runc).toContain("300000");
    expect(seen.runc).toContain("7: oh");
    expect(seen.microvm).toBe(seen.runc);
  });

  test("exec -t gives a terminal", async () => {
    const seen = await both(async (pod) => {
      const said = await kube().terminal(pod, "main", "tty; test -t 0 && test -t 1 && echo it is");
      // Around it stands what this side's terminal echoes.
      return /\/dev\/pts\/\d+\r\nit is/.exec(said.replaceAll("^@", ""))?.[0] ?? said;
    });
    expect(seen.microvm).toBe("/dev/pts/0\r\nit is");
    expect(seen.microvm).toBe(seen.runc);
  });

  test("port-forward, hostPort and the pod's address lead to the same server", async () => {
    const addresses = await both(async (pod) => {
      const forward = kube().kubectl.start("port-forward", pod, ":8080");
      const port = await forwarded(forward.stdout);
      const through = await hostname(`127.0.0.1`, port);
      forward.kill();
      const { podIP = "" } = (await kube().pod(pod)).status;
      return [through, await hostname(podIP, 8080)];
    });
    expect(addresses.runc).toEqual(["streams-runc", "streams-runc"]);
    expect(addresses.microvm).toEqual(["streams-microvm", "streams-microvm"]);
    const { address } = kube().cluster;
    expect(await hostname(address, hostPorts.runc)).toBe("streams-runc");
    expect(await hostname(address, hostPorts.microvm)).toBe("streams-microvm");
  });

  test("cp copies trees in and out", async () => {
    const seen = await both(async (pod) => {
      const dir = join(kube().cluster.node.dir, `cp-${pod}`);
      await mkdir(join(dir, "in/sub"), { recursive: true });
      await writeFile(join(dir, "in/sub/f"), "z".repeat(100_000));
      const at = (path: string): string => `${pod}:${path}`;
      await kube().kubectl.run("cp", join(dir, "in"), at("/tmp/in"), "-c", "main");
      await kube().kubectl.run("cp", at("tmp/in"), join(dir, "out"), "-c", "main");
      return (await readFile(join(dir, "out/sub/f"))).length;
    });
    expect(seen.microvm).toBe(100_000);
  });

  test("kubectl debug adds a container that shares the pod's network", async () => {
    const seen = await both(async (pod) => {
      await debug(kube(), pod, "look");
      return kube().sh(
        pod,
        "look",
        "wget -q -O - http://127.0.0.1:8080/hostname; cat /proc/1/comm",
      );
    });
    expect(seen).toEqual({ runc: "streams-runcsleep\n", microvm: "streams-microvmsleep\n" });
  });

  test("kubectl debug --target sees the processes and files of the container it names", async () => {
    const seen = await both(async (pod) => {
      await debug(kube(), pod, "peek", "--target=web");
      const look = "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/root/tmp/w/hostname";
      return kube().sh(pod, "peek", look);
    });
    const server = "httpd -f -p 8080 -h /tmp/w ";
    expect(seen).toEqual({
      runc: `${server}streams-runc`,
      microvm: `${server}streams-microvm`,
    });
  });

  test("kubelet's figures have the pod's memory and processor", async () => {
    await both((pod) => figuresOf(kube(), pod, "main"));
    expect(podOf(NAME, "microvm")).toBe("streams-microvm");
  });
}

/** Waits until kubelet has what `kubectl top` shows, of the pod and of that container. */
export async function figuresOf(kube: KubeUnderTest, pod: string, of: string): Promise<void> {
  await pollUntil(`figures of ${pod}`, { ms: LONG_MS, everyMs: 1_000 }, async () => {
    const path = `/api/v1/nodes/${kube.cluster.nodeName}/proxy/stats/summary`;
    const summary = JSON.parse(await kube.kubectl.run("get", "--raw", path)) as Summary;
    const found = summary.pods.find(({ podRef }) => podRef.name === pod);
    const main = found?.containers.find(({ name }) => name === of);
    const isThere =
      (main?.memory?.workingSetBytes ?? 0) > 0 && main?.cpu?.usageCoreNanoSeconds !== undefined;
    return isThere && (found?.memory?.workingSetBytes ?? 0) > 0 ? true : undefined;
  });
}

/** Adds an ephemeral container of this name that sleeps; answers when it runs. */
async function debug(
  kube: KubeUnderTest,
  pod: string,
  name: string,
  ...more: readonly string[]
): Promise<void> {
  await kube.kubectl.run(
    ...["debug", pod, "--image", BUSYBOX, "--image-pull-policy=Never", "-c", name, ...more],
    ...["--profile=general", "--", ...SLEEP],
  );
  const runs = `debug container ${name} runs`;
  await kube.until(pod, runs, (it) => statusOf(it, name)?.state.running !== undefined);
}

interface Figures {
  readonly memory?: { readonly workingSetBytes?: number };
  readonly cpu?: { readonly usageCoreNanoSeconds?: number };
}

interface Summary {
  readonly pods: readonly (Figures & {
    readonly podRef: { readonly name: string };
    readonly containers: readonly (Figures & { readonly name: string })[];
  })[];
}

/** The local port that `kubectl port-forward` says it listens on. */
export async function forwarded(stdout: NodeJS.ReadableStream | null): Promise<number> {
  let said = "";
  stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return pollUntil("port-forward listens", { ms: 60_000 }, () => {
    const port = /127\.0\.0\.1:(\d+) ->/.exec(said)?.[1];
    return port === undefined ? undefined : Number(port);
  });
}

/** What the server there says its host name is. */
export async function hostname(host: string, port: number, path = "/hostname"): Promise<string> {
  const socket = connect(port, host);
  await once(socket, "connect");
  const sent = request({ path, createConnection: () => socket }).end();
  const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream];
  let body = "";
  for await (const chunk of answer) body += chunk.toString();
  return body;
}

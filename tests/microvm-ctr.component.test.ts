// Containers without a pod sandbox, as ctr (and docker) run them: each is its own pod with a guest of its own.
import { join } from "node:path";
import { messageOf } from "@trine/base";
import { runCommand } from "@trine/testkit";
import { expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";

const RUN = ["run", "--rm", "--runtime", "io.containerd.trine-microvm.v2"];

test.each(["1.6", "2.4"] as const)(
  "ctr run of containerd %s, with a terminal and without",
  async (version) => {
    const { node, image } = await startMicrovmNode({ version });
    const { containerd } = node;

    const script = "echo out; tty; echo err >&2; exit 5";
    const plain = containerd.ctr(...RUN, image, "plain", "sh", "-c", script);
    const failure = await plain.then(() => "it ended with 0", messageOf);
    expect(failure).toMatch(/ended with 5[^]*err/);
    expect(await containerd.ctr(...RUN, image, "out", "echo", "out")).toContain("out\n");

    // ctr insists on a terminal of its own: script(1) gives it one.
    const typed = "'tty; read -r line; echo got=$line; exit 6'";
    const words = containerd.ctrCommand(...RUN, "-t", image, "terminal", "sh", "-c", typed);
    const seen = await runCommand(
      "script",
      ["-qec", `${words.join(" ")}; echo status=$?`, join(node.dir, "typescript")],
      { input: "typed\n" },
    );
    expect(seen).toMatch(/\/dev\/pts\/0[^]*got=typed[^]*status=6/);
    expect(await node.stop()).toEqual([]);
  },
  300_000,
);

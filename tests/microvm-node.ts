import { TrineNode, busyboxImage, microvmConfig, microvmGuest } from "@trine/testkit";
import type { ContainerdVersion, MicrovmGuest } from "@trine/testkit";

export interface MicrovmNodeOptions {
  /** Of containerd; default 2.4. */
  readonly version?: ContainerdVersion;
  /** Lines below `microvms:` of trined's configuration, indented. */
  readonly more?: string;
  /** Default: the one `make build` made. */
  readonly guest?: MicrovmGuest;
}

export interface MicrovmNode {
  readonly node: TrineNode;
  /** Name of static busybox in its store. */
  readonly image: string;
}

/** A node whose pods may be of level microvm, with busybox in its store. */
export async function startMicrovmNode(options: MicrovmNodeOptions = {}): Promise<MicrovmNode> {
  const [busybox, guest] = [await busyboxImage(), options.guest ?? (await microvmGuest())];
  const config = [microvmConfig(guest), options.more ?? ""].join("\n");
  const node = await TrineNode.start({ version: options.version ?? "2.4", config });
  try {
    await node.containerd.importImage(busybox);
    return { node, image: busybox.name };
  } catch (cause) {
    await node.stop();
    throw cause;
  }
}

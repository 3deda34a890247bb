/** What has to be known before the commands make sense: `trine help concepts`, and its manual page. */
export const CONCEPTS: readonly (readonly [title: string, text: string])[] = [
  [
    "Pod",
    "What is started, stopped and removed as one: containers that share an address and volumes. It is a v1 Pod of " +
      "Kubernetes, with the same fields; kubelet and this program see each other's pods.",
  ],
  [
    "Level",
    "What keeps a pod from the node: `container` (namespaces of the node's kernel), `microvm` (the pod's containers " +
      "behind a kernel of their own) or `vm` (a whole machine that boots from a disk). `run --level`; in a " +
      "manifest the runtimeClassName trine-microvm or trine-vm.",
  ],
  [
    "Machine",
    "The one of level `vm`. Its console is its log and what `attach` joins; `stop` presses its power button. What it " +
      "writes on its disk goes with its container, unless `trine.dev/disks` names a volume as its root.",
  ],
  [
    "Image",
    "What a pod's root is made of, in containerd's store. A machine image holds one disk; `image import` makes one of " +
      "a file or a URL, `image build` one of an image of containers.",
  ],
  [
    "Node daemon",
    "trined keeps microVMs and machines. They run on while it is away, and so does this program for plain containers: " +
      "it speaks to containerd itself.",
  ],
  [
    "Name",
    "NAME or NAMESPACE/NAME, or the start of a sandbox's or container's id, as long as it means one pod. Most verbs " +
      "take several names, or -l with labels; each pod has its own line of result.",
  ],
  [
    "Waiting",
    "Verbs that start wait until the pod runs (`--for exited`: until it has ended), name the step at hand, and leave " +
      "the pod as it is when `--timeout` is over. ^C undoes what was begun. Nobody restarts what has ended: " +
      "`trine start` does.",
  ],
  [
    "Settings",
    "A flag rules over a variable, that over the file that `trine config path` names, that over the default; " +
      "`trine config view --show-origin` says which it was.",
  ],
];

const WIDTH = 78;

/** All of it as plain text, 80 columns wide. */
export function conceptsText(): string {
  return CONCEPTS.map(([title, text]) => `${title}\n${wrapped(text, "  ")}\n`).join("\n");
}

function wrapped(text: string, indent: string): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > WIDTH && line !== indent) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}

import { INERT_FIELDS, type InertField } from "@trine/controllers";
import { KINDS } from "@trine/kube-types";
import type { FieldGroup } from "./field-group.ts";
import { ABSENT_KINDS, FOLLOWED, isWithin, membersOf, stateOfKind } from "./kinds.ts";
import type { Field } from "./kinds.ts";
import type { Proof, State } from "./proof.ts";
import { SUBRESOURCES } from "./subresources.ts";
import { VIRTCTL } from "./virtctl.ts";

const [BEGIN, END] = ["<!-- kubevirt:begin -->", "<!-- kubevirt:end -->"];

/** docs/compatibility.md with the part that is made of these tables, between its marks. */
export function withKubeVirt(text: string): string {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin)
    throw new Error("docs/compatibility.md lacks its marks of KubeVirt");
  return `${text.slice(0, begin + BEGIN.length)}\n\n${kubeVirtPart()}\n${text.slice(end)}`;
}

function kubeVirtPart(): string {
  return [
    "Made of the tables in `scripts/compatibility`, and of what the program itself goes by; a test says that each test named here exists. **inert**: it is kept,",
    "and its user is told so by a warning and, of an instance's fields, by the condition `trine.dev/InertFields`. Tests: the file's name, and the number of the test below.",
    "",
    "### Kinds",
    "",
    ...kindRows(),
    "",
    ...Object.entries(FOLLOWED).flatMap(([name, groups]) => fieldSection(name, groups)),
    "### Subresources",
    "",
    "| `subresources.kubevirt.io` | | | tests |",
    "|---|---|---|---|",
    ...SUBRESOURCES.map(
      ({ names, state, note = "", proofs }) =>
        `| ${names.map((name) => `\`${name}\``).join(", ")} | ${state} | ${note} | ${proven(proofs)} |`,
    ),
    "",
    "### virtctl",
    "",
    "Its requests are sent by a client of ours, in its order and with its headers (`packages/testkit/src/virtctl*.ts`).",
    "",
    "| command | | | tests |",
    "|---|---|---|---|",
    ...VIRTCTL.map(
      ({ command, state, note = "", proofs }) =>
        `| \`${command}\` | ${state} | ${note} | ${proven(proofs)} |`,
    ),
    "",
    "### Tests",
    "",
    ...testRows(),
    "",
  ].join("\n");
}

function kindRows(): string[] {
  const all = [
    ...KINDS.map(({ name, group, versions }) => ({
      name,
      of: `${group}, ${versions.map((each) => each.name).join(", ")}`,
    })),
    ...Object.entries(ABSENT_KINDS).map(([name, of]) => ({ name, of })),
  ];
  return [
    "| kind | | |",
    "|---|---|---|",
    ...all.map(({ name, of }) => {
      const { state, why } = stateOfKind(name);
      return `| ${name} (${of}) | ${state} | ${why} |`;
    }),
  ];
}

/** Cluster-wide kinds have the fields of the others of their name. */
function fieldSection(name: string, groups: readonly FieldGroup[]): string[] {
  if (name.startsWith("VirtualMachineCluster")) return [];
  return [
    `### Fields of ${name}`,
    "",
    "| fields | | but | tests |",
    "|---|---|---|---|",
    ...groups.map((each) => {
      const { title, fields, proofs } = each;
      const shown =
        fields.length === 0 ? "" : ` (${fields.map((path) => `\`${path}\``).join(", ")})`;
      const but = [
        ...exceptions(name, groups, each),
        ...(each.but === undefined ? [] : [each.but]),
      ];
      return `| ${title}${shown} | ${stateOfGroup(name, groups, each)} | ${each.refused ?? but.join("; ")} | ${proven(proofs)} |`;
    }),
    "",
  ];
}

/** Whether anything follows a group's fields; of an instance's spec by what its controller goes by. */
export function stateOfGroup(kind: string, groups: readonly FieldGroup[], of: FieldGroup): State {
  if (of.refused !== undefined) return "refused";
  const own = membersOf(kind, groups, of);
  const isLooked = kind === "VirtualMachineInstance" && own[0]?.path.startsWith("spec.") === true;
  if (!isLooked) return of.proofs.length > 0 ? "works" : "inert";
  return own.every(isInert) ? "inert" : "works";
}

/** A field that is not followed whatever it says, or a switch that cannot be turned on. */
function isInert({ path: field, isSwitch }: Field): boolean {
  const nowhere = { spec: { domain: { devices: {} } }, indices: [] };
  return INERT_FIELDS.some(
    ({ path, when }) =>
      isWithin(field, `spec.${path}`) && (when === undefined || (isSwitch && when(true, nowhere))),
  );
}

/** What of a group is not followed, and what is so instead. */
function exceptions(kind: string, groups: readonly FieldGroup[], of: FieldGroup): string[] {
  if (kind !== "VirtualMachineInstance") return [];
  const own = membersOf(kind, groups, of);
  const about = ({ path }: InertField): boolean =>
    own.some((field) => isWithin(field.path, `spec.${path}`));
  const byWhy = new Map<string, string[]>();
  for (const each of INERT_FIELDS.filter(about)) {
    const short = each.path.split(".").slice(-2).join(".");
    const names = byWhy.get(each.why) ?? [];
    byWhy.set(each.why, [...names, `\`${short}\`${each.when === undefined ? "" : " at times"}`]);
  }
  return [...byWhy].map(([why, names]) => `${names.join(", ")}: ${why}`);
}

/** Every proof of the tables, each once. */
export function allProofs(): readonly Proof[] {
  return PROOFS;
}

const PROOFS = sortedProofs();

function sortedProofs(): readonly Proof[] {
  const all = [...Object.values(FOLLOWED).flat(), ...SUBRESOURCES, ...VIRTCTL];
  const proofs = all.flatMap((each): readonly Proof[] => each.proofs);
  const seen = new Map(proofs.map((proof) => [JSON.stringify(proof), proof]));
  return [...seen.values()].toSorted((a, b) => (a.join() < b.join() ? -1 : 1));
}

/** `render-pod 3, vm-pod 2`. */
function proven(proofs: readonly Proof[]): string {
  return proofs.map(([file, title]) => `${shortName(file)} ${numberOf([file, title])}`).join(", ");
}

function shortName(file: string): string {
  return (file.split("/").at(-1) ?? file).replace(/(\.component)?(\.test)?\.ts$/, "");
}

function numberOf([file, title]: Proof): number {
  return (
    allProofs()
      .filter(([other]) => other === file)
      .findIndex(([, other]) => other === title) + 1
  );
}

function testRows(): string[] {
  const files = [...new Set(allProofs().map(([file]) => file))];
  return files.flatMap((file) => [
    `* \`${file}\``,
    ...allProofs()
      .filter(([other]) => other === file)
      .map(([, title], index) => `  ${index + 1}. ${title}`),
  ]);
}

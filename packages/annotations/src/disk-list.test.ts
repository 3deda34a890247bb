import { expect, test } from "vitest";
import { parseDisks } from "./disk-list.ts";

const LIMITS = { maxBytes: 4096, maxCount: 4 };

function disks(text: string): unknown {
  const result = parseDisks(text, LIMITS);
  return "why" in result ? result.why : result.disks;
}

const PLAIN = {
  ...{ cdrom: false, readOnly: false, ephemeral: false, shared: false, discard: true },
};

test("reads what is said, and gives what is not its default", () => {
  const text = [
    "- {name: root, device: /dev/root, boot: 2}",
    "- {name: data, file: /vol/a.img, size: 8Mi, bus: scsi, cache: none, io: native, serial: A_1, discard: false, onError: stop}",
    "- {name: cd, image: /iso, cdrom: true, boot: 1}",
    "- {name: q, file: /q, format: qcow2, ephemeral: true, size: 1Gi}",
  ].join("\n");
  expect(disks(text)).toEqual([
    { ...PLAIN, name: "root", source: { kind: "device", path: "/dev/root" }, boot: 2 },
    {
      ...{ ...PLAIN, name: "data", source: { kind: "file", path: "/vol/a.img" }, bus: "scsi" },
      ...{
        sizeBytes: 2 ** 23,
        cache: "none",
        io: "native",
        serial: "A_1",
        discard: false,
        onError: "stop",
      },
    },
    {
      ...{ ...PLAIN, name: "cd", source: { kind: "image", path: "/iso" }, bus: "sata" },
      ...{ cdrom: true, readOnly: true, boot: 1 },
    },
    {
      ...{ ...PLAIN, name: "q", source: { kind: "file", path: "/q" }, ephemeral: true },
      ...{ sizeBytes: 2 ** 30, format: "qcow2" },
    },
  ]);
  expect(disks("[]")).toEqual([]);
  expect(
    disks("- {name: a, file: /a, ownThread: true}\n- {name: b, file: /b, ownThread: false}"),
  ).toEqual([
    { ...PLAIN, name: "a", source: { kind: "file", path: "/a" }, ownThread: true },
    { ...PLAIN, name: "b", source: { kind: "file", path: "/b" } },
  ]);
  expect(disks("- {name: a, file: /a, bus: sata, ownThread: true}")).toMatch(/ownThread is for/);
  expect(disks("- {name: tmp, empty: true, size: 1Gi}")).toEqual([
    { ...PLAIN, name: "tmp", source: { kind: "empty" }, sizeBytes: 2 ** 30 },
  ]);
  expect(
    disks("- {name: a, files: /etc/a}\n- {name: b, files: /b, label: OEMDRV, bus: sata}"),
  ).toEqual([
    {
      ...{ ...PLAIN, name: "a", source: { kind: "files", path: "/etc/a", label: "cfgdata" } },
      readOnly: true,
    },
    {
      ...{ ...PLAIN, name: "b", source: { kind: "files", path: "/b", label: "OEMDRV" } },
      ...{ readOnly: true, bus: "sata" },
    },
  ]);
  expect(disks('[{"name": "root", "bus": "sata"}]')).toEqual([
    { ...PLAIN, name: "root", source: { kind: "machine" }, bus: "sata" },
  ]);
});

test.each<[string, RegExp]>([
  ["data", /^is not a list$/],
  ["[", /^is not YAML: /],
  ["- &a {name: x}\n- *a", /^has YAML aliases$/],
  [`- ${"x".repeat(5000)}`, /^has 5002 bytes$/],
  ["- x", /^disk 1: is not a mapping$/],
  ["- {name: a, empty: true, size: 1Gi}\n- {}", /^disk 2: name is missing$/],
  ["- {name: root, files: /a}", /: a machine does not boot from files$/],
  ["- {name: a, files: /a, label: 'a b'}", /: label "a b": 1 to 16 of letters, digits, _ and -$/],
  ["- {name: a, file: /a, label: x}", /: label is said of files$/],
  ["- {name: a, files: /a, size: 1Gi}", /: a disk that is read-only cannot be given a size$/],
  ["- {name: a, files: /a, ephemeral: true}", /readOnly \(or cdrom\) that there are none$/],
  ["- {name: A}", /^disk 1 \("A"\): name "A": 1 to 16 of a-z, 0-9 and -$/],
  ["- {name: seed, empty: true}", /the name seed is taken$/],
  ["- {name: a}", /says not where it is: one of device, file, image, files, empty$/],
  ["- {name: a, file: /a, device: /b}", /device and file are given: one of/],
  ["- {name: a, file: /a, onError: retry}", /onError "retry": "report" or "stop" or "ignore"/],
  ["- {name: a, path: /a}", /"path" is no field of a disk: name, size/],
  ["- {name: a, file: a.img}", /file "a.img": an absolute path in the container$/],
  ["- {name: a, file: /v/../etc/shadow}", /file "\/v\/..\/etc\/shadow": an absolute path/],
  ['- {name: a, file: "/v/\\n"}', /an absolute path/],
  ["- {name: a, file: 7}", /file 7: an absolute path/],
  ["- {name: a, empty: yes-please, size: 1Gi}", /empty "yes-please": true$/],
  ["- {name: a, empty: true}", /an empty disk needs a size$/],
  ["- {name: root, empty: true, size: 1Gi}", /does not boot from an empty disk$/],
  ["- {name: a, empty: true, size: 1Ki}", /size "1Ki": a quantity from 1Mi to 64Ti$/],
  ["- {name: a, empty: true, size: 1Gi, ephemeral: true}", /it is ephemeral by itself/],
  ["- {name: a, device: /a, size: 1Gi}", /a device has its own size$/],
  ["- {name: a, device: /a, bus: ide}", /bus "ide": "virtio" or "scsi" or "sata"$/],
  ["- {name: a, device: /a, cache: unsafe}", /cache "unsafe": "none" or/],
  ["- {name: a, device: /a, io: native}", /io native needs cache none$/],
  ["- {name: a, device: /a, io: io_uring}", /io "io_uring": "threads" or "native"$/],
  ["- {name: a, device: /a, serial: 'x,y'}", /serial "x,y": 1 to 20 of letters/],
  ["- {name: a, device: /a, serial: aaaaaaaaaaaaaaaaaaaaa}", /1 to 20 of letters/],
  ["- {name: a, device: /a, boot: 0}", /boot 0: a whole number from 1 to 99$/],
  ["- {name: a, device: /a, readOnly: 1}", /readOnly 1: true or false$/],
  ["- {name: a, device: /a, cdrom: true, bus: virtio}", /a cdrom has bus scsi or sata$/],
  ["- {name: a, device: /a, bus: sata, readOnly: true}", /a disk on sata is always written/],
  ["- {name: a, device: /a, cdrom: true, ephemeral: true}", /ephemeral says where writes go/],
  ["- {name: a, device: /a, readOnly: true, shared: true}", /it is read-only$/],
  ["- {name: a, device: /a, ephemeral: true, shared: true}", /nothing that others could see$/],
  ["- {name: a, file: /a, format: vmdk}", /format "vmdk": "raw" or "qcow2"$/],
  ["- {name: a, device: /a, format: raw}", /format is said of a file$/],
  ["- {name: a, file: /a, format: qcow2, size: 1Gi}", /a size makes or enlarges a raw file/],
  ["- {name: a, image: /a, shared: true}", /an image is never written$/],
  ["- {name: a, file: /a, readOnly: true, size: 1Gi}", /cannot be given a size$/],
  ["- {name: a, device: /a, fromImage: refuse}", /fromImage is said of a root on a device of its/],
  ["- {name: root, file: /a, fromImage: refuse}", /fromImage is said of a root on a device of its/],
  ["- {name: root, device: /a, fromImage: yes}", /fromImage "yes": "refuse" or "rewrite"$/],
  [
    "- {name: root, device: /a, fromImage: refuse, shared: true}",
    /of a root on a device of its own$/,
  ],
  ["- {name: a, device: /a}\n- {name: a, device: /b}", /^two disks have name "a"$/],
  ["- {name: a, device: /a, boot: 1}\n- {name: b, device: /b, boot: 1}", /^two disks have boot 1$/],
])("refuses %j", (text, says) => {
  expect(disks(text)).toMatch(says);
});

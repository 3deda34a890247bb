import { expect, test } from "vitest";
import { podSysctls } from "./pod-sysctls.ts";

const of = (sysctl: object): unknown => podSysctls({ spec: { linux: { sysctl } } });

test("those of a namespace are the pod's to set", () => {
  const sysctl = { "net.core.somaxconn": "7", "kernel/shmmax": "8", "fs.mqueue.msg_max": "9" };
  expect(of(sysctl)).toEqual(sysctl);
});

test.each(["vm.swappiness", "kernel.panic", "fs.file-max", "kernel/core_pattern"])(
  "%s belongs to no namespace and is refused",
  (name) => {
    expect(() => of({ [name]: "1" })).toThrow(`"${name}" is not in a separate kernel namespace`);
  },
);

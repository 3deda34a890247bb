import { expect, test } from "vitest";
import { defaultImageName, parseImageName } from "./image-name.ts";

test.each([
  ["localhost/a", "localhost/a:latest"],
  ["localhost/team/web:1.2", "localhost/team/web:1.2"],
  ["images.example:5000/a/b__c-d.e:V_1", "images.example:5000/a/b__c-d.e:V_1"],
])("%s is the image %s", (text, name) => {
  expect(parseImageName(text)).toBe(name);
});

test.each([
  ...["", "web", "web:1", "example/web:1", "localhost/", "localhost/Web", "localhost/a:"],
  ...["localhost/a b", "localhost/a@sha256:00", "localhost//a", "../a", "localhost/a\n"],
  `localhost/${"a".repeat(300)}`,
])("%j is refused with an example", (text) => {
  expect(() => parseImageName(text)).toThrow(/localhost\/appliance:1\.2/);
});

test.each([
  ["/images/Debian 12 (cloud).qcow2", "localhost/debian-12-cloud:latest"],
  ["disk.raw", "localhost/disk:latest"],
  ["a.iso", "localhost/a:latest"],
  ["b.tar", "localhost/b-tar:latest"],
  ["https://images.example/x/Debian-12.qcow2.xz?key=secret#x", "localhost/debian-12:latest"],
])("the file %s gives %s", (file, name) => {
  expect(defaultImageName(file)).toBe(name);
  expect(parseImageName(name)).toBe(name);
});

test("each disk of an appliance has a name of its own", () => {
  const name = defaultImageName("https://images.example/Appliance.ova", "sub/Data 1.vmdk");
  expect(name).toBe("localhost/appliance-data-1:latest");
  expect(parseImageName(name)).toBe(name);
  expect(() => defaultImageName("/tmp/a.ova", "---.vmdk")).toThrow(/--name/);
});

test("a file name without a letter needs --name", () => {
  expect(() => defaultImageName("/tmp/---.img")).toThrow(/--name/);
});

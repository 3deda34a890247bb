import { expect, test } from "vitest";
import { GOOD_INSTANCE, INVALID, REQUIRED, specFaults, withFields } from "../testing.ts";
import { checkObject } from "./object.ts";
import { invalidStatus } from "./status.ts";

test.each([
  ["text", "x", "<root> FieldValueTypeInvalid"],
  ["null", null, "<root> FieldValueTypeInvalid"],
  ["no kind", {}, "kind FieldValueInvalid"],
  ["another kind", { apiVersion: "v1", kind: "Pod" }, "kind FieldValueInvalid"],
  [
    "a version not served",
    { apiVersion: "kubevirt.io/v2", kind: "VirtualMachine" },
    "kind FieldValueInvalid",
  ],
])("%s is no object of ours", (_, object, fault) => {
  const { causes } = checkObject(object);
  expect(causes.map(({ field, reason }) => `${field} ${reason}`)).toEqual([fault]);
});

const replicas = {
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachineInstanceReplicaSet",
  spec: {
    selector: { matchLabels: { app: "a" } },
    template: { metadata: { labels: { app: "a" } }, spec: GOOD_INSTANCE.spec },
  },
};

test.each([
  ["fewer than none", { replicas: -1 }, [`replicas ${INVALID}`]],
  [
    "labels that the template has not",
    { "selector.matchLabels": { app: "b" } },
    [`selector ${INVALID}`],
  ],
  ["no selector", { selector: {} }, [`selector ${REQUIRED}`]],
  ["no template", { "template.spec": undefined }, [`template.spec ${REQUIRED}`]],
  ["a faulty template", { "template.spec.hostname": "A" }, [`template.spec.hostname ${INVALID}`]],
  ["nothing wrong", {}, []],
])("replicas: %s", (_, fields, faults) => {
  expect(specFaults(replicas, fields)).toEqual(faults);
});

test("a migration names its machine", () => {
  const migration = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstanceMigration",
    spec: { vmiName: "" },
  };
  expect(specFaults(migration, {})).toEqual([`vmiName ${REQUIRED}`]);
  expect(specFaults(migration, { vmiName: "m" })).toEqual([]);
});

test("a refusal has KubeVirt's form: causes with field, reason and message, ten of them in the message", () => {
  const disks = Array.from({ length: 12 }, () => ({}));
  const report = checkObject(withFields(GOOD_INSTANCE, { "spec.domain.devices.disks": disks }));
  const status = invalidStatus(report);
  expect(status).toMatchObject({ kind: "Status", apiVersion: "v1", status: "Failure", code: 422 });
  expect(status.reason).toBe("Invalid");
  expect(status.details.causes).toHaveLength(12);
  expect(status.details.causes[11]).toEqual({
    reason: REQUIRED,
    field: "spec.domain.devices.disks[11].name",
    message: "spec.domain.devices.disks[11].name is required",
  });
  expect(status.message).toMatch(/^spec\.domain\.devices\.disks\[0\]\.name is required, /);
  expect(status.message).toMatch(/, and 2 more validation errors$/);
});

test("values in messages are short", () => {
  const report = checkObject(withFields(GOOD_INSTANCE, { "spec.hostname": "x".repeat(100_000) }));
  expect(report.causes[0]?.message.length).toBeLessThan(200);
});

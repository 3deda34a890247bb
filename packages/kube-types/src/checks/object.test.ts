import { expect, test } from "vitest";
import {
  FAULTY_OBJECTS,
  GOOD_INSTANCE,
  REQUIRED,
  refusals,
  specFaults,
  withFields,
} from "../testing.ts";
import {
  INSTANCETYPE_FAULTS,
  PREFERENCE_FAULTS,
  instancetype,
  preference,
} from "../testing/faults/given.ts";
import { REPLICAS_FAULTS, replicas } from "../testing/faults/replicas.ts";
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

test.each(refusals(REPLICAS_FAULTS))("replicas: $what is refused", ({ fields, faults }) => {
  expect(specFaults(replicas, fields)).toEqual(faults);
});

test.each(refusals(INSTANCETYPE_FAULTS))(
  "instance type: $what is refused",
  ({ fields, faults }) => {
    expect(specFaults(instancetype, fields)).toEqual(faults);
  },
);

test.each(refusals(PREFERENCE_FAULTS))("preference: $what is refused", ({ fields, faults }) => {
  expect(specFaults(preference, fields)).toEqual(faults);
});

test.each([replicas, instancetype, preference])("nothing is wrong with %j", (object) => {
  expect(checkObject(object).causes).toEqual([]);
});

test("there are faulty objects of each kind, and each is refused as its table says", () => {
  const told = FAULTY_OBJECTS.map(({ object }) =>
    checkObject(object).causes.map(({ field, reason }) => `${field} ${reason}`),
  );
  expect(told).toEqual(FAULTY_OBJECTS.map(({ faults }) => faults));
  expect(FAULTY_OBJECTS.length).toBeGreaterThan(290);
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

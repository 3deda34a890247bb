import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { withAll } from "./create-pods.ts";

test("after a failed start all is done, and what fails then is told with the cause and its kind", async () => {
  const cause = new TrineError("notFound", "no image");
  const done: string[] = [];
  const note = (): Promise<void> => Promise.reject(new Error("disk full"));
  const remove = (): Promise<void> => {
    done.push("removed");
    return Promise.resolve();
  };
  await expect(withAll(cause, [note, remove])).rejects.toMatchObject({
    kind: "notFound",
    message: "no image; and after that: disk full",
  });
  await withAll(cause, [remove]);
  expect(done).toEqual(["removed", "removed"]);
});

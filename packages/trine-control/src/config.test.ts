import { expect, test } from "vitest";
import { parseListen, readArguments } from "./config.ts";

test("what is left out has its usual value", () => {
  expect(readArguments([])).toMatchObject({
    role: "all",
    namespace: "trine-system",
    service: "trine-virt-api",
    servicePort: 443,
    healthListen: ":8080",
  });
  expect(readArguments(["--help"])).toBe("help");
  expect(readArguments(["--version"])).toBe("version");
});

test.each([
  [["--role", "some"], "is none of controllers, api, all"],
  [["--service-port", "0"], "is no port"],
  [["--log-level", "loud"], "is none of debug"],
  [["--nothing"], "Unknown option"],
  [["word"], "Unexpected argument"],
])("%j is refused", (args, why) => {
  expect(() => readArguments(args)).toThrow(why);
});

test("addresses to listen at", () => {
  expect(parseListen("x", "[::1]:80")).toEqual({ host: "::1", port: 80 });
  expect(parseListen("x", ":0")).toEqual({ port: 0 });
  expect(() => parseListen("--x", "80")).toThrow("--x 80: is no HOST:PORT");
  expect(() => parseListen("--x", ":99999")).toThrow("is no HOST:PORT");
});

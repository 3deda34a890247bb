import { expect, test } from "vitest";
import { readLinks } from "./machine-figures.ts";

const TABLE = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     840      10    0    0    0     0          0         0      840      10    0    0    0     0       0          0
  tap0:    1000      20    1    2    0     0          0         0     3000      40    3    4    0     0       0          0
  mvt1:      50       5    0    0    0     0          0         0       70       7    0    0    0     0       0          0
`;

test("what a tap receives the guest has sent, and a macvtap is the guest's own", () => {
  expect(readLinks(TABLE, ["tap0", "mvt1"])).toEqual({
    receivedBytes: 3050,
    sentBytes: 1070,
    links: [
      {
        name: "tap0",
        received: { bytes: 3000, packets: 40, errors: 3, drops: 4 },
        sent: { bytes: 1000, packets: 20, errors: 1, drops: 2 },
      },
      {
        name: "mvt1",
        received: { bytes: 50, packets: 5, errors: 0, drops: 0 },
        sent: { bytes: 70, packets: 7, errors: 0, drops: 0 },
      },
    ],
  });
});

test.each([
  ["no tap of its own", TABLE, ["tap7"]],
  ["a process that has just ended", "", ["tap0"]],
])("%s has no figures", (_, table, taps) => {
  expect(readLinks(table, taps)).toBeUndefined();
});

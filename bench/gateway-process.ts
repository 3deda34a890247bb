// A gateway in a process of its own, as in trined: `node gateway-process.ts SOCKET BACK-END-SOCKET`. Says `ready`.
import { Gateway } from "@trine/cri-gateway";
import { QUIET } from "@trine/cri-gateway/testing";

const [socket = "", backEnd = ""] = process.argv.slice(2);
await Gateway.start({
  config: {
    socket,
    group: "",
    backEnds: [{ name: "containerd", socket: backEnd }],
    rules: [],
    untrusted: { handler: "", backEnd: "", hostAccess: "refuse" },
  },
  log: QUIET,
  onCall: () => undefined,
});
console.log("ready");

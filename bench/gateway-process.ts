// A gateway in a process of its own, as in trined: `node gateway-process.ts SOCKET BACK-END-SOCKET [relay]`. Says `ready`.
import { Gateway } from "@trine/cri-gateway";
import { QUIET } from "@trine/cri-gateway/testing";

const [socket = "", backEnd = "", streaming] = process.argv.slice(2);
await Gateway.start({
  config: {
    socket,
    group: "",
    streamAddress: "127.0.0.1:0",
    backEnds: [
      {
        name: "containerd",
        socket: backEnd,
        streaming: streaming === "relay" ? "relay" : "auto",
      },
    ],
    rules: [],
    untrusted: { handler: "", backEnd: "", hostAccess: "refuse" },
  },
  log: QUIET,
  onCall: () => undefined,
});
console.log("ready");

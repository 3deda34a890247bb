// The least that a relay of node:http2 can be: no deadlines, no limits, no rules, no errors but the happy path. What the gateway
// costs beyond it is the gateway's own: `node bare-proxy.ts SOCKET BACK-END-SOCKET`. Says `ready`.
import { connect, createServer } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { connect as connectSocket } from "node:net";

const MIB = 2 ** 20;
const [socket = "", backEnd = ""] = process.argv.slice(2);

const session = connect("http://localhost", {
  createConnection: () => connectSocket(backEnd),
  settings: { enablePush: false, initialWindowSize: MIB },
});
session.once("connect", () => {
  session.setLocalWindowSize(16 * MIB);
});

const server = createServer({ settings: { maxConcurrentStreams: 1000 } });
server.on("stream", (stream: ServerHttp2Stream, headers) => {
  const type = { "content-type": "application/grpc" };
  const to = session.request({
    ...{ ":method": "POST", ":path": headers[":path"], te: "trailers" },
    ...type,
  });
  let trailers: IncomingHttpHeaders = {};
  to.on("response", () => {
    stream.respond({ ":status": 200, ...type }, { waitForTrailers: true });
  });
  to.on("trailers", (fields: IncomingHttpHeaders) => {
    trailers = fields;
  });
  stream.on("wantTrailers", () => {
    stream.sendTrailers({ "grpc-status": trailers["grpc-status"] });
  });
  stream.pipe(to);
  to.pipe(stream);
});
server.listen(socket, () => {
  console.log("ready");
});

import { type Duplex } from "node:stream";
import { dialStreaming } from "./streaming-dial.ts";

export interface PortForward {
  /**
   * One TCP connection to a port of the pod. Errors the server reports (nothing listens there, …) destroy
   * the stream with its words.
   */
  connect(port: number): Duplex;
  close(): void;
}

/** Opens a PortForward URL (protocol portforward.k8s.io); serves any number of connections. */
export async function openPortForward(
  url: string,
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<PortForward> {
  const connection = await dialStreaming(url, "portforward.k8s.io", options);
  let requests = 0;
  return {
    connect(port) {
      const requestid = String(requests++);
      const errors = connection.open({ streamtype: "error", port: String(port), requestid });
      errors.end();
      const data = connection.open({ streamtype: "data", port: String(port), requestid });
      let words = "";
      errors.setEncoding("utf8");
      errors.on("data", (chunk: string) => {
        if (words.length < 4096) words += chunk;
      });
      errors.on("end", () => {
        if (words !== "") data.destroy(new Error(`port-forward to ${port}: ${words.trim()}`));
      });
      // The connection's failure reaches the caller through the data stream.
      errors.on("error", () => undefined);
      return data;
    },
    close() {
      connection.close();
    },
  };
}

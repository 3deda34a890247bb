import { type RequestOptions, request } from "node:https";

/** What a Prometheus gets that shows a token, or none. */
export function scrape(
  url: string,
  of: { readonly ca: string; readonly token?: string },
): Promise<{ readonly code: number; readonly text: string }> {
  const options: RequestOptions = {
    ca: of.ca,
    // As deploy/monitoring has it.
    servername: "trine-virt-api.trine-system.svc",
    agent: false,
    headers: of.token === undefined ? {} : { authorization: `Bearer ${of.token}` },
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve({ code: response.statusCode ?? 0, text });
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}

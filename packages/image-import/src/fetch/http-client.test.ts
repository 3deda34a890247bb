import { expect, test } from "vitest";
import { httpOf, startServer } from "../testing.ts";
import { HttpClient } from "./http-client.ts";

test("who hears of requests hears of each lead, and neither of queries nor of credentials", async () => {
  const server = await startServer((request, response) => {
    const isFirst = request.url?.startsWith("/a") === true;
    if (isFirst) response.writeHead(302, { location: "/b?signature=s3cret" }).end();
    else response.writeHead(200).end("x");
  });
  try {
    const heard: string[] = [];
    const client = await HttpClient.create(
      httpOf({
        credentials: () => ({ kind: "bearer", token: "s3cret" }),
        onRequest: ({ method, target }) => {
          heard.push(`${method} ${target.replace(server.url, "")}`);
          return ({ status }) => heard.push(status);
        },
      }),
    );
    const url = new URL(`${server.url}/a?key=s3cret`);
    const { message } = await client.send({ url }, new AbortController().signal);
    message.destroy();
    expect(heard).toEqual(["GET /a", "302", "GET /b", "200"]);
  } finally {
    await server.close();
  }
});

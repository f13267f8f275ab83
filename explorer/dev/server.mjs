/** `node dev/server.mjs [port]`: the built explorer with the mock; `/big/` has 200 tokens and 80 layers. */

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { about, answer } from "./mock.mjs";

const STATIC = new URL("../../lensscope/explorer/static/", import.meta.url);
const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>lensscope</title><link rel="stylesheet" href="page.css"><link rel="stylesheet" href="explorer.css"></head><body><div data-lensscope-explorer></div><script type="module" src="explorer.js"></script></body></html>`;
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:";

createServer(async (request, response) => {
  const path = new URL(request.url, "http://x").pathname;
  const big = path.startsWith("/big/");
  const name = path.replace(/^\/(big\/)?/, "");
  const send = (type, body) =>
    response
      .writeHead(200, { "Content-Type": type, "Content-Security-Policy": POLICY, "Cache-Control": "no-store" })
      .end(body);
  const body = async () => {
    const parts = [];
    for await (const part of request) parts.push(part);
    return JSON.parse(Buffer.concat(parts).toString());
  };
  if (name === "") return send("text/html", PAGE);
  if (name === "explorer.js") return send("text/javascript", await readFile(new URL("explorer.js", STATIC)));
  if (name === "explorer.css") return send("text/css", await readFile(new URL("explorer.css", STATIC)));
  if (name === "page.css") return send("text/css", "body{margin:0}");
  if (name === "about") return send("application/json", JSON.stringify(about(big)));
  if (name === "export") {
    const recorded = JSON.stringify(await body()).replace(/</g, "\\u003c");
    const [script, style] = await Promise.all([
      readFile(new URL("explorer.js", STATIC), "utf8"),
      readFile(new URL("explorer.css", STATIC), "utf8"),
    ]);
    return send(
      "text/html",
      `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>lensscope</title><style>${style}</style></head><body><div data-lensscope-explorer></div><script type="application/json" id="lensscope-recorded">${recorded}</script><script type="module">${script.replace(/<\/script/g, "<\\/script")}</script></body></html>`,
    );
  }
  if (name !== "ask") return response.writeHead(404).end();
  const { question } = await body();
  let open = true;
  response.on("close", () => (open = false));
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(": here\n\n");
  for await (const told of answer(question, big, (time) => new Promise((done) => setTimeout(done, time)))) {
    if (!open) return;
    response.write(`data: ${JSON.stringify(told)}\n\n`);
  }
  response.end();
}).listen(Number(process.argv[2] ?? 8799), "127.0.0.1");

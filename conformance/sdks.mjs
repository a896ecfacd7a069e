// The SDKs of Node, for sdks.py: one JSON object a line on standard input, its answer as one line on standard output.
// Bodies come in base64 and are text: the SDKs take strings.

import { createInterface } from "node:readline";
import { sign, verify } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { LogSeverity, shopifyApi } from "@shopify/shopify-api";
import { createSHA256HMAC, HashFormat } from "@shopify/shopify-api/runtime";

// Whatever an SDK has to say must not get between the answers.
for (const name of ["log", "info", "debug", "warn"]) console[name] = console.error;

function shopify(secret) {
  return shopifyApi({
    apiKey: "desk",
    apiSecretKey: secret,
    apiVersion: "2026-07",
    hostName: "desk.example",
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error },
  });
}

const calls = {
  "octokit sign": ({ secret, body }) => sign(secret, body),
  "octokit verify": async ({ secret, body, signature }) => ({ valid: await verify(secret, body, signature) }),
  "shopify sign": ({ secret, body }) => createSHA256HMAC(secret, body, HashFormat.Base64),
  "shopify verify": async ({ secret, body, headers }) => {
    const rawRequest = { method: "POST", url: "/webhooks/shopify", headers };
    const verdict = await shopify(secret).webhooks.validate({ rawBody: body, rawRequest });
    return { valid: verdict.valid, why: verdict.reason };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  question.body = Buffer.from(question.body, "base64").toString("utf8");
  let answer;
  try {
    answer = { said: await calls[question.call](question) };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

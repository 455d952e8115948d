// Runs the scenarios of a module in one browser: reads a line of JSON for each, answers with one.

import { createInterface } from "node:readline";
import { launch } from "./chromium.mjs";

const [module, url, control] = process.argv.slice(2);
const scenarios = await import(`./${module}`);
const TIMEOUT_MS = 30000;
const browser = await launch();

function describe(site, page) {
  const errors = [];
  page.on("pageerror", (error) => errors.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) errors.push(`request to ${request.url()}`);
  });
  return () => errors.filter((error) => !site.expected.some((pattern) => pattern.test(error)));
}

async function run(name) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const site = {
    url,
    expected: [],
    expect(pattern) { this.expected.push(pattern); },
    async control(command) {
      const answer = await fetch(control, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(command) });
      if (!answer.ok) throw new Error(await answer.text());
      return (await answer.json()).result;
    },
  };
  const errors = describe(site, page);
  try {
    await site.control({ do: "reset" });
    await scenarios[name](page, site);
    if (errors().length > 0) throw new Error(errors().join("\n"));
    return { ok: true };
  } catch (error) {
    return { ok: false, error: `${error.stack}\n${errors().join("\n")}` };
  } finally {
    await context.close();
  }
}

process.stdout.write(`${JSON.stringify(Object.keys(scenarios))}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line)))}\n`);
}
await browser.close();

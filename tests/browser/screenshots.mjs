// Writes a picture of every page, light, dark and as a phone shows it, into a folder.
// node tests/browser/screenshots.mjs URL FOLDER; CHROMIUM names another browser, ONLY some pages.

import { mkdirSync } from "node:fs";
import { launch } from "./chromium.mjs";

const [url, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const recent = await (await fetch(`${url}/api/recent?status=DONE&limit=1`)).json();
const failed = await (await fetch(`${url}/api/failed?limit=1`)).json();
const pages = {
  overview: "/",
  recordings: "/recordings",
  failed: "/recordings?status=FAILED",
  search: "/recordings?q=weekly",
  empty: "/recordings?q=nothing-like-this",
  recording: `/recordings/${recent.recordings[0].key}`,
  "recording-failed": `/recordings/${failed.recordings[0].key}`,
  nightly: "/nightly",
  health: "/health",
  missing: "/recordings/none",
};
const looks = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 1 },
};

const browser = await launch();
for (const [look, options] of Object.entries(looks)) {
  const page = await (await browser.newContext(options)).newPage();
  for (const [name, path] of Object.entries(pages)) {
    if (process.env.ONLY && !process.env.ONLY.split(",").includes(name)) continue;
    await page.goto(url + path);
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${folder}/${name}-${look}.png`, fullPage: true });
  }
}
await browser.close();

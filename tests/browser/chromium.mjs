// Starts Chromium by playwright-core, both of which `make test-tools` installs.

import { createRequire } from "node:module";

const tools = createRequire(new URL("../../.tools/browser/", import.meta.url));
export const { chromium } = tools("playwright-core");
export const axePath = tools.resolve("axe-core/axe.min.js");

// As root, which CI often is, Chromium refuses its sandbox.
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "--mute-audio"];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: ARGUMENTS });
}

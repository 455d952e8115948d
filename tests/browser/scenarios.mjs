// What people do in the dashboard. Each export is one scenario: it gets a page that has
// just been opened, and `site` to change what is behind it. It throws when something is wrong.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { axePath } from "./chromium.mjs";

const axe = readFileSync(axePath, "utf8");

async function recordingOf(site, name) {
  const found = await (await fetch(`${site.url}/api/search?q=${encodeURIComponent(name)}&limit=1`)).json();
  return found.recordings[0].key;
}

async function openDone(page, site) {
  const found = await (await fetch(`${site.url}/api/recent?status=DONE&limit=1`)).json();
  await page.goto(`${site.url}/recordings/${found.recordings[0].key}`);
  await page.locator(".deck").waitFor();
  return found.recordings[0].key;
}

const position = (page) => page.evaluate(() => document.querySelector("audio").currentTime);
const playing = (page) => page.waitForFunction(() => !document.querySelector("audio").paused && document.querySelector("audio").currentTime > 0);

export async function search_finds_by_title_date_and_person(page, site) {
  await page.goto(site.url);
  await page.keyboard.press("/");
  await page.keyboard.type("reun equip");
  await page.keyboard.press("Enter");
  await page.waitForURL(/recordings\?q=/);
  const names = await page.locator(".row .name").allTextContents();
  assert.ok(names.length > 0 && names.every((name) => name.includes("Réunion")), names.join());
  const key = await recordingOf(site, "weekly");
  const day = (await (await fetch(`${site.url}/api/recordings/${key}`)).json()).words.find((word) => /^\d{4}-\d\d-\d\d$/.test(word));
  for (const query of [day, "anna@example.com"]) {
    await page.fill("#search", query);
    await page.press("#search", "Enter");
    await page.waitForURL((url) => url.searchParams.get("q") === query);
    assert.ok(await page.locator(".row").count() > 0, query);
  }
  await page.fill("#search", "nothing like this");
  await page.press("#search", "Enter");
  await page.getByText("Nothing matches").waitFor();
}

export async function filters_have_urls(page, site) {
  await page.goto(`${site.url}/recordings`);
  await page.locator(".chips").getByRole("link", { name: /^Failed/ }).click();
  await page.waitForURL(/status=FAILED/);
  await page.selectOption("select[name=code]", "forbidden");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForURL(/code=forbidden/);
  const shown = await page.locator(".row .name").allTextContents();
  assert.ok(shown.length > 0 && shown.every((name) => name.includes("forbidden")));
  await page.reload();
  assert.deepEqual(await page.locator(".row .name").allTextContents(), shown);
}

export async function older_pages_show_other_recordings(page, site) {
  await page.goto(`${site.url}/recordings`);
  const first = await page.locator(".row").evaluateAll((rows) => rows.map((row) => row.dataset.key));
  assert.equal(first.length, 50);
  await page.getByRole("link", { name: "Older" }).click();
  await page.waitForURL(/cursor=/);
  const second = await page.locator(".row").evaluateAll((rows) => rows.map((row) => row.dataset.key));
  assert.ok(second.length > 0 && second.every((key) => !first.includes(key)));
}

export async function sound_advances_and_the_waveform_seeks(page, site) {
  await openDone(page, site);
  await page.getByRole("button", { name: "Play" }).click();
  await playing(page);
  const before = await position(page);
  await page.waitForFunction((start) => document.querySelector("audio").currentTime > start + 0.5, before);
  const box = await page.locator(".seek").boundingBox();
  await page.mouse.click(box.x + box.width * 0.75, box.y + box.height / 2);
  await page.waitForFunction(() => document.querySelector("audio").currentTime > 28);
  assert.ok(await position(page) < 34);
  await page.getByRole("button", { name: "Pause" }).click();
  assert.equal(await page.evaluate(() => document.querySelector("audio").paused), true);
  const range = await page.evaluate(async () => (await fetch(document.querySelector("audio").src, { headers: { Range: "bytes=10-19" } })).status);
  assert.equal(range, 206);
}

export async function speed_and_keys(page, site) {
  await openDone(page, site);
  await page.selectOption(".speed", "1.5");
  assert.equal(await page.evaluate(() => document.querySelector("audio").playbackRate), 1.5);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press(">");
  await page.keyboard.press(">");
  assert.equal(await page.evaluate(() => document.querySelector("audio").playbackRate), 2);
  await page.keyboard.press("k");
  await playing(page);
  await page.keyboard.press("k");
  await page.waitForFunction(() => document.querySelector("audio").paused);
  const before = await position(page);
  await page.keyboard.press("l");
  assert.ok(await position(page) >= before + 9);
  await page.keyboard.press("j");
  assert.ok(Math.abs(await position(page) - before) < 1);
  await page.reload();
  await page.locator(".deck").waitFor();
  assert.equal(await page.inputValue(".speed"), "2"); // remembered
  await page.selectOption(".speed", "1");
}

export async function a_link_is_copied_and_works(page, site) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: site.url });
  await openDone(page, site);
  await page.getByRole("button", { name: "for a week" }).click();
  await page.getByText("Copied. The link works for a week.").waitFor();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  const answer = await fetch(link);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "audio/mpeg");
  await site.control({ do: "advance", seconds: 8 * 86400 });
  assert.equal((await fetch(link)).status, 403);
}

export async function an_expired_link_is_renewed_where_it_stopped(page, site) {
  const key = await openDone(page, site);
  const link = await page.evaluate(async (key) => (await (await fetch("/api/refresh-url", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content },
    body: JSON.stringify({ key }),
  })).json()).url, key);
  await page.evaluate((link) => { const audio = document.querySelector("audio"); audio.src = link; return audio.play(); }, link);
  await playing(page);
  await page.evaluate(() => { document.querySelector("audio").currentTime = 12; });
  await page.waitForFunction(() => document.querySelector("audio").currentTime > 12);
  await site.control({ do: "advance", seconds: 2 * 86400 });
  // The link is over: whatever asks for it again is refused.
  site.expect(/403/);
  await page.evaluate((link) => { document.querySelector("audio").src = link + "&again=1"; }, link);
  await page.waitForFunction((old) => document.querySelector("audio").src !== old && !document.querySelector("audio").src.includes("again"), link);
  await page.waitForFunction(() => !document.querySelector("audio").paused && document.querySelector("audio").currentTime >= 11);
}

export async function retry_one(page, site) {
  const key = await site.control({ do: "add", name: "Retry me once", status: "FAILED" });
  await page.goto(`${site.url}/recordings/${key}`);
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("1 recording queued again.").waitFor();
  assert.equal(await site.control({ do: "status", key }), "QUEUED");
  assert.ok((await site.control({ do: "published" })).includes(key));
  await page.getByText("Waiting for its turn.").waitFor();
}

export async function retry_many(page, site) {
  const error = { code: "timeout", message: "stalled" };
  const keys = [];
  for (const number of [1, 2, 3]) keys.push(await site.control({ do: "add", name: `Retry many ${number}`, status: "FAILED", fields: { error } }));
  await page.goto(`${site.url}/recordings?status=FAILED&code=timeout`);
  await page.getByRole("checkbox", { name: /many 1/ }).check();
  await page.getByRole("button", { name: "Retry selected" }).click();
  await page.getByText("1 recording queued again.").waitFor();
  assert.equal(await site.control({ do: "status", key: keys[0] }), "QUEUED");
  await page.goto(site.url);
  const group = page.locator("#failures .row").filter({ hasText: "Took too long" });
  await group.getByRole("button", { name: "Retry all" }).click();
  await page.getByText("2 recordings queued again.").waitFor();
  for (const key of keys) assert.equal(await site.control({ do: "status", key }), "QUEUED");
}

export async function progress_and_the_end_appear_without_reload(page, site) {
  await page.goto(site.url);
  await page.evaluate(() => { window.notReloaded = true; });
  const key = await site.control({ do: "add", name: "Live extraction", status: "PROCESSING", fields: { progress: 0.1 } });
  const bar = page.locator(`#active [data-progress="${key}"]`);
  await bar.waitFor();
  for (const progress of [0.35, 0.8]) {
    await site.control({ do: "change", key, fields: { progress } });
    await page.waitForFunction(([key, value]) => document.querySelector(`#active [data-progress="${key}"]`)?.value === value, [key, progress]);
  }
  await site.control({ do: "change", key, fields: { status: "FAILED", error: { code: "corrupt", message: "bad packet" } } });
  await bar.waitFor({ state: "detached" });
  await page.locator("#recent .row").filter({ hasText: "Live extraction" }).getByText("Failed").waitFor();
  assert.equal(await page.evaluate(() => window.notReloaded), true);
}

export async function health_turns_red_and_green_again(page, site) {
  for (const path of ["/", "/health"]) {
    await page.goto(site.url + path);
    await page.locator('[data-component=storage][data-light=green]').waitFor();
    await site.control({ do: "down", component: "storage" });
    await page.locator('[data-component=storage][data-light=red]').waitFor();
    await page.locator(".bar .dot.red").waitFor();
    assert.match(await page.locator("link[rel=icon]").getAttribute("href"), /icon-down/);
    await site.control({ do: "up", component: "storage" });
    await page.locator('[data-component=storage][data-light=green]').waitFor();
    await page.locator(".bar .dot.green").waitFor();
  }
}

export async function hostile_names_are_text(page, site) {
  const dialogs = [];
  page.on("dialog", (dialog) => { dialogs.push(dialog.message()); dialog.dismiss(); });
  const key = await recordingOf(site, "script alert");
  await page.goto(`${site.url}/recordings?q=script`);
  await page.getByText("<script>alert('x')</script>").first().waitFor();
  await page.goto(`${site.url}/recordings/${key}`);
  await page.getByRole("heading", { level: 1 }).getByText("<script>").waitFor();
  assert.deepEqual(dialogs, []);
  await page.goto(`${site.url}/recordings?q=very+long+title`);
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(width <= 0, `${width} pixels too wide`);
}

export async function everything_works_by_keyboard(page, site) {
  await page.goto(site.url);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await page.waitForURL(/\/recordings$/);
  for (let tabs = 0; tabs < 60; tabs += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.matches(".row .name"))) break;
  }
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/recordings\/.+/);
  await openDone(page, site);
  for (let tabs = 0; tabs < 30; tabs += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.matches(".play"))) break;
  }
  await page.keyboard.press("Space");
  await playing(page);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.type), "range");
  const before = await position(page);
  await page.keyboard.press("ArrowRight");
  assert.ok(await position(page) >= before + 4);
}

export async function a_question_mark_lists_the_keys(page, site) {
  await page.goto(site.url);
  await page.keyboard.press("?");
  const dialog = page.getByRole("dialog", { name: "Keyboard" });
  await dialog.getByText("slower, faster").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
}

export async function shift_selects_everything_between(page, site) {
  await page.goto(`${site.url}/recordings?status=FAILED`);
  const boxes = page.locator("input[name=keys]");
  await boxes.nth(1).click();
  await boxes.nth(4).click({ modifiers: ["Shift"] });
  const ticked = await boxes.evaluateAll((all) => all.slice(0, 6).map((box) => box.checked));
  assert.deepEqual(ticked, [false, true, true, true, true, false]);
}

export async function listening_goes_on_where_it_stopped(page, site) {
  await openDone(page, site);
  await page.waitForFunction(() => document.querySelector("audio").readyState > 0);
  await page.evaluate(() => { document.querySelector("audio").currentTime = 17; });
  await page.waitForFunction(() => Object.keys(localStorage).some((name) => name.startsWith("position:")));
  await page.reload();
  await page.waitForFunction(() => document.querySelector("audio").currentTime === 17);
  assert.equal(await page.locator(".position").textContent(), "0:17");
  const box = await page.locator(".seek").boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 20);
  await page.locator(".pointed").getByText("0:20").waitFor();
}

export async function pages_work_without_javascript(page, site) {
  const plain = await (await page.context().browser().newContext({ javaScriptEnabled: false })).newPage();
  const key = await site.control({ do: "add", name: "Plain retry", status: "FAILED", fields: { error: { code: "too_long", message: "x" } } });
  await plain.goto(`${site.url}/recordings?status=FAILED&code=too_long`);
  await plain.locator(`input[value="${key}"]`).check();
  await plain.getByRole("button", { name: "Retry selected" }).click();
  await plain.getByText("1 recording queued again.").waitFor();
  assert.equal(await site.control({ do: "status", key }), "QUEUED");
  const done = (await (await fetch(`${site.url}/api/recent?status=DONE&limit=1`)).json()).recordings[0].key;
  await plain.goto(`${site.url}/recordings/${done}`);
  assert.equal(await plain.locator("audio[controls]").isVisible(), true);
  await plain.context().close();
}

async function violations(page) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => window.axe.run());
  return result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")} (${one.help})`);
}

async function everyPage(site) {
  const key = await recordingOf(site, "weekly");
  const failed = (await (await fetch(`${site.url}/api/failed?limit=1`)).json()).recordings[0].key;
  return ["/", "/recordings", "/recordings?status=FAILED&code=corrupt", "/recordings?q=nothing-here", `/recordings/${key}`, `/recordings/${failed}`, "/nightly", "/health"];
}

async function noViolations(page, site, colorScheme) {
  await page.emulateMedia({ colorScheme });
  const found = [];
  for (const path of await everyPage(site)) {
    await page.goto(site.url + path);
    for (const violation of await violations(page)) found.push(`${path} ${violation}`);
  }
  assert.deepEqual(found, []);
}

export const no_axe_violation_in_light = (page, site) => noViolations(page, site, "light");
export const no_axe_violation_in_dark = (page, site) => noViolations(page, site, "dark");

export async function a_phone_shows_all_without_scrolling_sideways(page, site) {
  await page.setViewportSize({ width: 360, height: 740 });
  for (const path of await everyPage(site)) {
    await page.goto(site.url + path);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const widest = await page.evaluate(() => [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.tagName + "." + one.className).slice(0, 5).join(" "));
    assert.ok(wide <= 0, `${path} is ${wide} pixels too wide: ${widest}`);
  }
}

// What people see while the system works: the scenarios run one after the other on one `serve`.

import assert from "node:assert/strict";

// A mark that a reload would remove.
const mark = (page) => page.evaluate(() => { window.notReloaded = true; });
const notReloaded = async (page) => assert.equal(await page.evaluate(() => window.notReloaded), true);

export async function the_bar_of_a_running_extraction_moves_until_it_is_done(page, site) {
  await page.goto(site.url);
  await mark(page);
  await site.control({ do: "record", name: "Long talk - 2026/11/20 10:00 CET - Recording" });

  // It appears by itself, and moves at least three times while FFmpeg waits for the source.
  const bar = page.locator("#active progress");
  await bar.waitFor();
  const seen = [await bar.evaluate((one) => one.value)];
  while (seen.length < 4) {
    const moved = await page.waitForFunction((last) => {
      const value = document.querySelector("#active progress")?.value;
      return value > last && { value, text: document.querySelector("#active output").textContent };
    }, seen.at(-1));
    const { value, text } = await moved.jsonValue();
    assert.equal(text, `${Math.round(100 * value)} %`);
    seen.push(value);
  }
  assert.ok(seen.at(-1) < 1, seen.join());

  // The recording's own page has the same bar. It is opened beside the overview.
  const own = await page.context().newPage();
  await own.goto(await page.locator("#active a.name").evaluate((link) => link.href));
  await mark(own);
  const before = await own.locator("progress").evaluate((one) => one.value);
  await own.waitForFunction((last) => document.querySelector("progress")?.value > last, before);

  await site.control({ do: "hurry" });
  await page.locator("#recent .row").filter({ hasText: "Long talk" }).getByText("Done").waitFor({ timeout: 120000 });
  await bar.waitFor({ state: "detached" });
  await notReloaded(page);

  // The audio can be played at once, where its end was awaited.
  await own.getByRole("button", { name: "Play" }).click();
  await own.waitForFunction(() => document.querySelector("audio").currentTime > 0.5);
  await notReloaded(own);
}

export async function health_is_red_while_the_storage_is_away(page, site) {
  for (const path of ["/", "/health"]) {
    await page.goto(site.url + path);
    await mark(page);
    const light = (colour) => page.locator(`[data-component=storage][data-light=${colour}]`).waitFor();
    await light("green");
    await site.control({ do: "storage goes away" });
    try {
      await light("red");
      await page.locator(".bar .dot.red").waitFor();
      // Every page still opens, and the menu shows that something is wrong.
      const other = await page.context().newPage();
      site.expect(/503/);
      await other.goto(`${site.url}/recordings`);
      await other.locator(".bar .dot.red").waitFor();
      await other.close();
    } finally {
      await site.control({ do: "storage comes back" });
    }
    await light("green");
    await page.locator(".bar .dot.green").waitFor();
    await notReloaded(page);
  }
  // Nothing was made in its place, and nothing is lost.
  await page.goto(`${site.url}/recordings`);
  await page.getByText("Long talk").first().waitFor();
}

/** The page in use: keyboard, screen reader, colours, sizes, tokens, and what leaves it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { answered, asks, close, done, open } from "./support/page.mjs";

const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");

after(close);

test("axe-core finds no serious violation, in light and dark, before and behind an error", async (t) => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await answered(t, { colorScheme });
    await page.getByText("Vocabularies of the server").click();
    await violations(page);
    await page.fill("#word", "sky");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".problem");
    await violations(page);
  }
});

async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run());
  const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(
    serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
    [],
  );
}

test("everything is reached by keyboard, in the order of the page", async (t) => {
  const page = await answered(t);
  const order = [];
  for (let press = 0; press < 80; press++) {
    await page.keyboard.press("Tab");
    order.push(await page.evaluate(() => document.activeElement?.id || document.activeElement?.className || ""));
  }
  const places = ["theme", "file", "camera", "canvas", "opacity", "word", "top-k", "threshold", "segment", "snippet"];
  const found = places.map((id) => order.indexOf(id));
  assert.ok(!found.includes(-1), `${places.filter((_, at) => found[at] === -1)} of ${order}`);
  assert.deepEqual(
    found,
    [...found].sort((one, other) => one - other),
  );
});

test("arrow keys read the picture aloud, Enter isolates, and results are announced", async (t) => {
  const page = await answered(t);
  assert.match(await page.locator("#status").innerText(), /\d+ words found in [\d.]+ m?s: sky 2\d %/);
  await page.locator("#canvas").focus();
  for (let press = 0; press < 6; press++) await page.keyboard.press("Shift+ArrowUp");
  assert.match(await page.locator("#read").innerText(), /(sky|cloud), score/);
  await page.keyboard.press("Enter");
  assert.equal(await page.locator('.legend [aria-pressed="true"]').count(), 1);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator('.legend [aria-pressed="true"]').count(), 0);
});

test("colours follow the system, and a switch", async (t) => {
  const ground = (page) => page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor);
  const light = await open(t, { colorScheme: "light" });
  const dark = await open(t, { colorScheme: "dark" });
  const [bright, dim] = [await ground(light), await ground(dark)];
  assert.notEqual(bright, dim);
  await light.locator("#theme").click(); // auto to light
  await light.locator("#theme").click(); // to dark
  assert.equal(await ground(light), dim);
  await light.reload();
  assert.equal(await ground(light), dim);
});

test("a phone shows everything in its width", async (t) => {
  const page = await answered(t, { viewport: { width: 360, height: 780 }, hasTouch: true, isMobile: true });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
});

test("the server's token is asked for, kept in the tab and sent", async (t) => {
  if (!process.env.PLAYGROUND_WITH_TOKEN) return t.skip("needs a server with tokens: tests/browser/run starts one");
  const page = await open(t, { page: process.env.PLAYGROUND_WITH_TOKEN });
  await page.waitForSelector(".banner");
  assert.match(await page.locator(".banner").innerText(), /token/);
  await page.getByText("Token", { exact: true }).click();
  await page.fill("#token", process.env.PLAYGROUND_TOKEN);
  await page.keyboard.press("Enter");
  await done(page);
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  assert.match(await page.locator("#snippet").innerText(), /SED_TOKEN/);
  await page.reload();
  await done(page);
});

test("the same request is copied as Python, Node, grpcurl and for the command line", async (t) => {
  const page = await answered(t, {
    fragment: "#example=farm&w=cow%7Ccattle&w=dog's+50%25+%22tail%22&w=sky&top_k=4&threshold=0.2",
  });
  const folder = process.env.SNIPPETS;
  for (const [label, file] of [
    ["Python", "python.py"],
    ["Node", "node.mjs"],
    ["grpcurl", "grpcurl.sh"],
    ["sed-serve", "cli.sh"],
  ]) {
    await page.locator("#code").getByText(label, { exact: true }).click();
    await page.locator("#copy").click();
    await page.getByText("Copied").waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(copied, /farm\.webp/);
    // tests/browser/run executes what is written here, as it was copied.
    if (folder) await import("node:fs").then(({ writeFileSync }) => writeFileSync(join(folder, file), copied));
    await page.waitForFunction(() => document.querySelector("#copy").textContent === "Copy");
  }
  if (folder) await saved(page, "The picture", join(folder, "farm.webp"));
});

test("mask, overlay and COCO JSON are downloaded at the picture's own size", async (t) => {
  const page = await answered(t);
  const mask = readFileSync(await saved(page, "Mask PNG"));
  assert.deepEqual([mask.readUInt32BE(16), mask.readUInt32BE(20), mask[25]], [400, 300, 3]);
  const overlay = readFileSync(await saved(page, "Overlay PNG"));
  assert.equal(overlay.toString("latin1", 1, 4), "PNG");
  const data = JSON.parse(readFileSync(await saved(page, "COCO JSON"), "utf8"));
  assert.deepEqual(data.images[0], { id: 1, file_name: "farm.webp", width: 400, height: 300 });
  const area = data.annotations.reduce((sum, one) => sum + one.area, 0);
  assert.equal(area, 400 * 300);
  assert.ok(data.annotations.every(({ segmentation, bbox }) => segmentation.counts && bbox[2] > 0));
});

async function saved(page, name, to) {
  const started = page.waitForEvent("download");
  await page.getByRole("button", { name, exact: true }).click();
  const download = await started;
  if (to) await download.saveAs(to);
  return to ?? download.path();
}

test("screenshots of the main states", async (t) => {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return t.skip("SCREENSHOTS names no folder");
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
  const looks = { light: { colorScheme: "light" }, dark: { colorScheme: "dark" }, phone };
  for (const [look, options] of Object.entries(looks)) {
    const page = await answered(t, options);
    const shot = (state) => page.screenshot({ path: join(folder, `${look}-${state}.png`), fullPage: true });
    await shot("regions");
    await asks(page, () => page.getByRole("button", { name: "Add words of ade20k-150" }).click());
    await page.locator("#views").getByText("Confidence").click();
    await page.locator(".step + .fold summary").first().click();
    await shot("many-words");
    await page.fill("#word", "sky");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".problem");
    await shot("error");
  }
});

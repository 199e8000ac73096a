/** The words and the options of a question, and its address. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { answered, asks, close, done, open, pixels } from "./support/page.mjs";

const chips = (page) => page.locator(".chips > li > span:first-child").allInnerTexts();

after(close);

test("words are chips, joined by | and by dragging, split and removed", async (t) => {
  const page = await answered(t, { fragment: "#w=sky&w=grass&w=house" });
  await page.fill("#word", "barn | shed, cow");
  await asks(page, () => page.keyboard.press("Enter"));
  assert.deepEqual(await chips(page), ["sky", "grass", "house", "barn", "cow"]);
  await page.locator(".chips > li").nth(3).dragTo(page.locator(".chips > li").nth(2));
  assert.deepEqual(await page.locator(".chips > li").nth(2).locator("span").allInnerTexts(), ["house", "barn", "shed"]);
  await page.getByRole("button", { name: "Split house" }).click();
  assert.deepEqual(await chips(page), ["sky", "grass", "house", "barn", "shed", "cow"]);
  await page.getByRole("button", { name: "Remove shed" }).click();
  await page.locator(".chips > li").nth(3).press("|");
  assert.deepEqual(await page.locator(".chips > li").nth(2).locator("span").allInnerTexts(), ["house", "barn"]);
  await page.locator(".chips > li").nth(0).press("Delete");
  assert.deepEqual(await chips(page), ["grass", "house", "cow"]);
});

test("vocabularies are listed, prepared with progress, and used", async (t) => {
  const page = await answered(t);
  await page.getByText("Vocabularies of the server").click();
  // The shortest list that no other test has prepared.
  const buttons = page.getByRole("button", { name: /^Prepare / });
  await buttons.first().waitFor();
  const size = (name) => Number(name.match(/\d+$/)?.[0] ?? Number.POSITIVE_INFINITY);
  const labels = await buttons.evaluateAll((all) => all.map((one) => one.getAttribute("aria-label")));
  const name = labels.map((label) => label.replace("Prepare ", "")).sort((one, other) => size(one) - size(other))[0];
  const button = page.getByRole("button", { name: `Prepare ${name}`, exact: true });
  const row = page.locator(".vocabularies li", { has: page.getByText(name, { exact: true }) });
  await button.click();
  await row.getByText("all phrases ready").waitFor({ timeout: 120_000 });
  await asks(page, () => page.getByRole("button", { name: `Use ${name}`, exact: true }).click());
  assert.match(await page.locator("#funnel").innerText(), new RegExp(`${size(name)} words`));
  assert.match(page.url(), new RegExp(`vocabulary=${name}`));
});

test("top_k and the threshold ask again, the opacity repaints only", async (t) => {
  const page = await answered(t);
  await asks(page, () => page.locator("#top-k").fill("2"));
  assert.match(await page.locator("#funnel").innerText(), /among the 2 best/);
  await asks(page, () => page.locator("#threshold").fill("0.95"));
  assert.match(await page.locator("#legend").innerText(), /unlabelled/);
  let asked = 0;
  page.on("request", (request) => {
    if (request.method() === "POST") asked++;
  });
  const before = await pixels(page);
  await page.locator("#opacity").fill("0.9");
  assert.notEqual(await pixels(page), before);
  assert.equal(asked, 0);
});

test("a second question about the picture goes by its id and skips the encoder", async (t) => {
  const page = await answered(t);
  await page.fill("#word", "barn");
  const sent = await asks(page, () => page.keyboard.press("Enter"));
  assert.ok(sent.length < 2000, `${sent.length} bytes`);
  const time = await page.locator("#time").innerText();
  assert.match(time, /encoder skipped/);
  assert.doesNotMatch(time, /^encode$/m);
});

test("the state is in the address, without the picture", async (t) => {
  const page = await answered(t, { fragment: "#example=beach&w=sky&w=sea%7Cocean&top_k=3&view=margin&opacity=0.8" });
  assert.deepEqual(await page.locator(".chips > li").nth(1).locator("span").allInnerTexts(), ["sea", "ocean"]);
  assert.equal(await page.locator("#top-k").inputValue(), "3");
  assert.ok(await page.locator("#view-margin").isChecked());
  await page.locator("#views").getByText("Confidence").click();
  await page.reload();
  await done(page);
  assert.ok(await page.locator("#view-confidence").isChecked());
  assert.match(page.url(), /example=beach.*w=sea/);
});

test("an address that makes no sense does no harm", async (t) => {
  const page = await open(t, { fragment: "#example=%3Cscript%3E&w=%00&top_k=-5&view=evil&opacity=NaN&threshold=9" });
  await page.getByRole("button", { name: "farm" }).click();
  await page.waitForSelector('#segment[aria-busy="false"]');
  assert.ok(await page.locator("#view-regions").isChecked());
});

/** The picture: where it comes from, and what is drawn over it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { answered, asks, close, done, open, pixels } from "./support/page.mjs";

const BEACH = new URL("../../models/sed-tiny/examples/beach.png", import.meta.url).pathname;

after(close);

test("an example is segmented end to end", async (t) => {
  const page = await answered(t);
  assert.ok((await page.locator(".legend button").count()) >= 8);
  assert.match(await page.locator("#model").innerText(), /sed-tiny/);
  await asks(page, () => page.getByRole("button", { name: "winter" }).click());
  assert.match(await page.locator(".legend").innerText(), /snow/);
});

test("a picture is opened, dropped and pasted; a phone photographs one", async (t) => {
  const page = await answered(t);
  const sent = await asks(page, () => page.setInputFiles("#file", BEACH));
  assert.ok(sent.includes(readFileSync(BEACH)), "the file goes to the server as it is");
  assert.match(await page.locator("#canvas").getAttribute("aria-label"), /beach\.png/);
  for (const kind of ["drop", "paste"]) {
    const bytes = [...readFileSync(BEACH)];
    await asks(page, () => page.evaluate(give, { kind, bytes, name: `${kind}.png` }));
    assert.match(await page.locator("#canvas").getAttribute("aria-label"), new RegExp(`${kind}\\.png`));
  }
  assert.equal(await page.locator("#photo").getAttribute("capture"), "environment");
});

/** Hands a file to the page as a drop or a paste does. */
function give({ kind, bytes, name }) {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const event =
    kind === "drop"
      ? new DragEvent("drop", { ...options, dataTransfer: data })
      : new ClipboardEvent("paste", { ...options, clipboardData: data });
  document.body.dispatchEvent(event);
}

test("hover tells category, score, runner-up and margin", async (t) => {
  const page = await answered(t);
  const box = await page.locator("#canvas").boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + box.height * 0.05);
  assert.match(
    await page.locator("#tip").innerText(),
    /sky[\s\S]*score[\s\S]*[01]\.\d\d[\s\S]*runner-up[\s\S]*margin[\s\S]*[01]\.\d\d/,
  );
});

test("a click isolates a category", async (t) => {
  const page = await answered(t);
  const all = await pixels(page);
  const box = await page.locator("#canvas").boundingBox();
  await page.mouse.click(box.x + box.width * 0.4, box.y + box.height * 0.05);
  assert.equal(await page.locator('.legend [aria-pressed="true"] .name').innerText(), "sky");
  assert.notEqual(await pixels(page), all);
  await page.locator('.legend [aria-pressed="true"]').click();
  assert.equal(await pixels(page), all);
});

test("confidence, margin and the bare picture are views of their own", async (t) => {
  const page = await answered(t);
  const seen = new Set([await pixels(page)]);
  for (const view of ["Confidence", "Margin", "Picture"]) {
    await page.locator("#views").getByText(view).click();
    seen.add(await pixels(page));
  }
  assert.equal(seen.size, 4);
});

test("the camera segments its newest frames and shows its pace", async (t) => {
  const page = await answered(t);
  await page.getByRole("button", { name: "Camera" }).click();
  await page.waitForFunction(() => /[1-9][\d.]* frames a second/.test(document.querySelector("#note").textContent));
  const underWay = await page.evaluate(() => document.querySelector("#note").textContent);
  assert.match(underWay, /frames a second, [\d.]+ m?s each, \d+ skipped/);
  await page.getByRole("button", { name: "Stop the camera" }).click();
  await page.waitForFunction(() => document.querySelector("#note").textContent === "");
});

test("a picture beyond the server's limits is scaled, and the page says so", async (t) => {
  const page = await answered(t);
  const big = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(9000, 6700);
    const context = canvas.getContext("2d");
    context.fillStyle = "teal";
    context.fillRect(0, 0, 9000, 3000);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.6 });
    const data = new DataTransfer();
    data.items.add(new File([blob], "big.jpg", { type: "image/jpeg" }));
    document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
    return blob.size;
  });
  assert.ok(big > 0);
  await page.waitForFunction(() => /scaled from 9000 × 6700/.test(document.querySelector("#note").textContent), null, {
    timeout: 60_000,
  });
  await done(page);
});

test("an SVG, and a file that is no picture, are refused with a reason", async (t) => {
  const page = await open(t);
  await done(page);
  for (const [name, content, reason] of [
    ["drawing.svg", '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', /drawing\.svg is an SVG drawing/],
    ["notes.txt", "hello", /notes\.txt is no picture/],
  ]) {
    await page.setInputFiles("#file", { name, mimeType: "image/svg+xml", buffer: Buffer.from(content) });
    await page.waitForSelector(".problem");
    assert.match(await page.locator(".problem").innerText(), reason);
  }
});

test("a damaged picture is answered with the server's own words", async (t) => {
  const page = await answered(t);
  const damaged = readFileSync(BEACH).subarray(0, 5000);
  await page.setInputFiles("#file", { name: "half.png", mimeType: "image/png", buffer: damaged });
  await page.waitForSelector(".problem");
  assert.match(await page.locator(".problem").innerText(), /IMAGE_CORRUPT/);
});

/** The answer: legend, rejection, times, ambiguities, errors. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { answered, asks, close, done, open } from "./support/page.mjs";
import { refusal } from "./support/status.mjs";

const SEGMENT = "**/sed.v1.SegmentationService/Segment";

after(close);

test("the legend tells areas and scores, present and absent", async (t) => {
  const page = await answered(t);
  assert.match(await page.locator(".legend button").first().innerText(), /sky\s+2\d %\s+0\.\d\d/);
  await page.getByText(/words absent/).click();
  assert.match(await page.locator("#legend .names").innerText(), /elephant/);
});

test("the rejection is a funnel with the rejected words", async (t) => {
  const page = await answered(t);
  await asks(page, () => page.getByRole("button", { name: "Add words of ade20k-150" }).click());
  const numbers = await page.locator(".step .number").allInnerTexts();
  const left = numbers.map((text) => Number.parseInt(text, 10));
  assert.equal(left.length, 4);
  assert.ok(left[0] > 100 && left[1] < left[0] && left[3] <= left[2], String(left));
  await page.locator(".step + .fold summary").first().click();
  assert.ok((await page.locator(".step + .fold[open] li").count()) > 20);
});

test("the times are bars by stage, with waiting and batches", async (t) => {
  const page = await answered(t);
  await asks(page, () => page.setInputFiles("#file", { name: "one.bmp", mimeType: "image/bmp", buffer: bitmap() }));
  const time = await page.locator("#time").innerText();
  for (const stage of ["image decode", "text embedding", "encode", "cost map", "decode level 3", "mask encoding"])
    assert.match(time, new RegExp(stage));
  assert.match(time, /batch of 1 picture/);
  assert.match(time, /waiting/);
  const widths = await page.locator(".stages .work").evaluateAll((bars) => bars.map((bar) => bar.clientWidth));
  assert.ok(Math.max(...widths) > 20, String(widths));
});

/** A picture that no other test has sent. */
function bitmap() {
  const side = 64;
  const head = Buffer.alloc(54);
  head.write("BM");
  head.writeUInt32LE(54 + 3 * side * side, 2);
  for (const [at, value] of [
    [10, 54],
    [14, 40],
    [18, side],
    [22, side],
    [34, 3 * side * side],
  ])
    head.writeUInt32LE(value, at);
  head.writeUInt16LE(1, 26);
  head.writeUInt16LE(24, 28);
  return Buffer.concat([head, Buffer.from(Array.from({ length: 3 * side * side }, () => Math.random() * 255))]);
}

test("near-synonyms that the server names can be joined", async (t) => {
  const page = await answered(t, { fragment: "#w=sky&w=grass&w=mountain&w=hill&w=tree" });
  assert.match(await page.locator("#ambiguities").innerText(), /mountain or hill[\s\S]*of the picture, margin/);
  await asks(page, () => page.getByRole("button", { name: "Join mountain and hill" }).click());
  assert.deepEqual(await page.locator(".chips > li").nth(2).locator("span").allInnerTexts(), ["mountain", "hill"]);
});

test("an error is shown as the server words it, with its field", async (t) => {
  const page = await open(t, { fragment: "#w=cow&w=Cow" });
  await page.waitForSelector(".problem");
  const problem = await page.locator(".problem").innerText();
  assert.match(problem, /CATEGORY_DUPLICATE · INVALID_ARGUMENT/);
  assert.match(problem, /vocabulary\.categories/);
});

test("a delay of the server is counted down, and the question is asked again", async (t) => {
  let calls = 0;
  const message = "the server has all the work that it can hold";
  const page = await open(t, {
    before: (page) =>
      page.route(SEGMENT, (route) =>
        ++calls > 1
          ? route.continue()
          : route.fulfill(refusal({ code: 8, message, reason: "QUEUE_FULL", delaySeconds: 2 })),
      ),
  });
  await page.waitForSelector(".countdown");
  assert.match(
    await page.locator("#problem").innerText(),
    new RegExp(`${message}[\\s\\S]*QUEUE_FULL[\\s\\S]*again in [12] s`),
  );
  await done(page);
  assert.equal(calls, 2);
  assert.equal(await page.locator(".problem").count(), 0);
});

test("an answer that is no answer, and a server that is gone, do no harm", async (t) => {
  const page = await answered(t);
  await page.route(SEGMENT, (route) =>
    route.fulfill({ status: 200, contentType: "application/grpc-web+proto", body: "nonsense" }),
  );
  await page.locator("#segment").click();
  await page.waitForSelector(".problem");
  await page.unroute(SEGMENT);
  await page.locator("#segment").click();
  await done(page);
  assert.equal(await page.locator(".problem").count(), 0);
});

test("markup in names stays text", async (t) => {
  const evil = '<img src=x onerror="window.harm=1"><script>window.harm=1</script>';
  const page = await open(t, {
    fragment: `#w=${encodeURIComponent(evil)}&w=sky&w=grass&w=${encodeURIComponent("‮evil")}`,
  });
  await done(page);
  assert.equal(await page.locator(".chips > li").first().locator("span").innerText(), evil);
  assert.equal(await page.evaluate(() => window.harm), undefined);
  assert.equal(await page.locator("main img:not(#sources img), main script").count(), 0);
});

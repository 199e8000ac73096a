/** A Chromium with the playground in it, which reports whatever the browser complains about. */
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const PAGE = process.env.PLAYGROUND;
const ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

let browser;

/** Opens the page in a context of its own; at the end of the test nothing may have been complained about. */
export async function open(t, { fragment = "", page: url = PAGE, before = async () => {}, ...options } = {}) {
  browser ??= await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
  const context = await browser.newContext({
    viewport: { width: 1360, height: 900 },
    permissions: ["clipboard-read", "clipboard-write", "camera"],
    acceptDownloads: true,
    ...options,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== new URL(url).origin) complaints.push(`a request to ${request.url()}`);
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, [], "errors of the console, violations of the policy, requests elsewhere");
  });
  await before(page);
  await page.goto(`${url}/${fragment}`);
  return page;
}

/** Opens the page and waits for the answer about its first picture. */
export async function answered(t, options) {
  const page = await open(t, options);
  await done(page);
  return page;
}

/** Waits until no question is under way and there is an answer. */
export async function done(page) {
  await page.waitForSelector(".legend button", { timeout: 30_000 });
  await page.waitForSelector('#segment[aria-busy="false"]', { timeout: 60_000 });
}

/** Does something that asks the server, and returns the body of the question and the answer's text on the page. */
export async function asks(page, act) {
  const asked = page.waitForRequest("**/sed.v1.SegmentationService/Segment");
  await act();
  const request = await asked;
  await (await request.response()).finished();
  await done(page);
  return request.postDataBuffer();
}

/** A digest of what the canvas shows. */
export function pixels(page) {
  return page.evaluate(() => document.querySelector("#canvas").toDataURL());
}

/** Ends the browser. */
export async function close() {
  await browser?.close();
}

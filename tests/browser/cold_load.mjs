/**
 * Prints the time of a first visit: from the address to the drawn answer about the first picture, and of it the server's
 * own time for that answer, in milliseconds. Not a test: run it on an idle machine, with a server that nothing has asked.
 *
 *     ../tools/with_server --playground -- bash -c 'PLAYGROUND=http://$SED_ADDRESS node cold_load.mjs'
 */
import { chromium } from "playwright-core";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
const begin = performance.now();
await page.goto(process.env.PLAYGROUND);
await page.waitForSelector(".legend button");
const visit = performance.now() - begin;
const [, time, unit] = (await page.locator("#time").innerText()).match(/([\d.]+)\s*(ms|s)\s+on the server/);
const server = Number(time) * (unit === "s" ? 1000 : 1);
console.log(`visit ${visit.toFixed(0)}, server ${server.toFixed(0)}, more ${(visit - server).toFixed(0)}`);
await browser.close();

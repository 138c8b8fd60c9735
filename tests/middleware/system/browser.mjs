// Visit pages in Chromium, one after the other, and print what each visit brought as JSON.
// Usage: node browser.mjs '{"args": [...], "visits": [{"url": ..., "until": SELECTOR, "click": SELECTOR, "screenshot": FILE}]}'
import { chromium } from "playwright-core";

const { args, visits } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args, chromiumSandbox: false });
const page = await (await browser.newContext({ viewport: { width: 1100, height: 900 } })).newPage();

let seen;
page.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => seen.console.push(`error: ${error}`));
page.on("requestfailed", (request) => seen.failed.push(`${request.url()} ${request.failure()?.errorText}`));
await page.exposeFunction("reportViolation", (text) => seen.violations.push(text));
await page.addInitScript(() =>
  document.addEventListener("securitypolicyviolation", (event) =>
    window.reportViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`),
  ),
);

const results = [];
for (const visit of visits) {
  seen = { console: [], failed: [], violations: [] };
  const response = await page.goto(visit.url, { waitUntil: "load", timeout: 20000 });
  for (const selector of [visit.until].flat().filter(Boolean)) {
    await page.waitForSelector(selector, { timeout: 20000 });
  }
  if (visit.click) {
    await page.click(visit.click.selector);
    await page.waitForSelector(visit.click.until, { timeout: 20000 });
  }
  if (visit.screenshot) await page.screenshot({ path: visit.screenshot });
  const chain = [];
  for (let request = response.request(); request; request = request.redirectedFrom()) {
    const step = await request.response();
    chain.unshift({ url: request.url(), status: step.status(), headers: await step.allHeaders() });
  }
  results.push({ url: page.url(), chain, text: await page.innerText("body"), ...seen });
}
await browser.close();
console.log(JSON.stringify(results));

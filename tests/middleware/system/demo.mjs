// Visit the demo as a person would, with nothing but the local CA in the user's trust store; print what came of it.
// Usage: HOME=… node demo.mjs URL DIRECTORY-FOR-SCREENSHOTS
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, directory] = process.argv.slice(2);
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args, chromiumSandbox: false });
const found = { console: [], violations: [], accessibility: [], widths: {} };

async function open(options) {
  const page = await (await browser.newContext(options)).newPage();
  page.on("console", (message) => found.console.push(message.text()));
  page.on("pageerror", (error) => found.console.push(String(error)));
  await page.exposeFunction("reportViolation", (text) => found.violations.push(text));
  await page.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", (event) => window.reportViolation(event.effectiveDirective)),
  );
  const response = await page.goto(url, { timeout: 20000 });
  await page.waitForSelector("#feed li.mine", { timeout: 20000 });
  return { page, response };
}

for (const [width, colorScheme] of [[400, "light"], [400, "dark"], [1280, "light"], [1280, "dark"]]) {
  const { page } = await open({ viewport: { width, height: 900 }, colorScheme });
  await page.screenshot({ path: `${directory}/${width}-${colorScheme}.png`, fullPage: true });
  found.widths[`${width}-${colorScheme}`] = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.evaluate(readFileSync("node_modules/axe-core/axe.min.js", "utf-8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  found.accessibility.push(...violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join(" ")}`));
  await page.context().close();
}

const { page, response } = await open({ viewport: { width: 1280, height: 900 } });
found.issuer = (await response.securityDetails()).issuer;
found.mine = await page.innerText("#feed li.mine");
found.before = await page.innerText("#serial");
await page.evaluate(() => (window.sameDocument = true));
await page.focus("#renew");
await page.keyboard.press("Enter");
await page.waitForFunction((before) => document.getElementById("serial").textContent !== before, found.before, { timeout: 30000 });
found.after = await page.innerText("#serial");
found.said = await page.innerText("#renewed");
found.sameDocument = await page.evaluate(() => window.sameDocument === true);
await page.waitForFunction(() => document.getElementById("feed").textContent.includes("now serving"), null, { timeout: 20000 });
await page.setViewportSize({ width: 400, height: 900 }); // with the previous serial in a sentence
found.widths["400-renewed"] = await page.evaluate(() => document.documentElement.scrollWidth);
found.words = await page.$$eval("dt small", (all) => all.map((each) => each.parentElement.firstChild.textContent));
await page.screenshot({ path: `${directory}/renewed.png`, fullPage: true });

// Another profile has another connection: it gets the new certificate, as the browser itself says.
const other = await (await browser.newContext()).newPage();
found.elsewhere = await (await other.goto(new URL("/certificate", url).href)).json();
await browser.close();
console.log(JSON.stringify(found));

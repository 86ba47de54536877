// Open pages of the report in Chromium, in both colour schemes, at three widths and on paper. README.md says how.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import puppeteer from "puppeteer-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
let faults = 0;
for (const file of process.argv.slice(2)) {
  const page = await browser.newPage();
  const said = (what) => { faults++; console.log(`${file}: ${what}`); };
  let place = "";
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && said(`${place} console: ${message.text()}`));
  page.on("pageerror", (error) => said(`${place} error: ${error.message}`));
  page.on("request", (request) => request.url().startsWith("file:") || request.url().startsWith("data:") || said(`request: ${request.url()}`));
  await page.setViewport({ width: 1000, height: 1000 });
  await page.goto(`file://${resolve(file)}`, { waitUntil: "load" });
  await page.evaluate(axe);
  const settings = ["light", "dark"].flatMap((scheme) => [400, 1000, 1600].map((width) => ({ scheme, width, media: "screen" })));
  for (const { scheme, width, media } of [...settings, { scheme: "light", width: 794, media: "print" }]) {
    place = `${scheme} ${width} ${media}`;
    await page.emulateMediaType(media);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.setViewport({ width, height: 1000 });
    await page.evaluate(() => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
    await new Promise((done) => setTimeout(done, 1500));
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (over > 0) said(`${place}: wider than the window by ${over} px`);
    const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    for (const each of found.violations) said(`${place}: ${each.impact} ${each.id}: ${each.nodes.length} × ${each.nodes[0].target} ${each.nodes[0].failureSummary.split("\n")[1] || ""}`);
  }
  await page.close();
  console.log(`${file}: looked at`);
}
await browser.close();
process.exit(faults ? 1 : 0);

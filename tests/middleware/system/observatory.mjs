// Grade a site with MDN's HTTP Observatory, whose own command takes no ports.
// Usage: node observatory.mjs HOST HTTP_PORT HTTPS_PORT
import dns from "node:dns";
import { ALL_TESTS } from "./node_modules/@mdn/mdn-http-observatory/src/constants.js";
import { MINIMUM_SCORE_FOR_EXTRA_CREDIT } from "./node_modules/@mdn/mdn-http-observatory/src/grader/charts.js";
import {
  getGradeForScore,
  getScoreModifier,
} from "./node_modules/@mdn/mdn-http-observatory/src/grader/grader.js";
import { retrieve } from "./node_modules/@mdn/mdn-http-observatory/src/retriever/retriever.js";

// Every name is this machine: localhost itself gets no HSTS, and no grade for it.
const lookup = dns.lookup;
dns.lookup = (_name, options, done) => lookup("127.0.0.1", options, done);

const [host, httpPort, httpsPort] = process.argv.slice(2);
const site = await retrieve(host, { httpPort, httpsPort });
const tests = {};
let withCredit = 100;
let withoutCredit = 100;
for (const test of ALL_TESTS) {
  const { constructor, result, pass } = test(site);
  const modifier = result ? getScoreModifier(result) : 0;
  tests[constructor.name] = { result, pass, modifier };
  withCredit += modifier;
  withoutCredit += Math.min(modifier, 0);
}
const score = withoutCredit >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? withCredit : withoutCredit;
const final = getGradeForScore(score);
console.log(JSON.stringify({ grade: final.grade, score: final.score, verified: site.responses.auto.verified, tests }));

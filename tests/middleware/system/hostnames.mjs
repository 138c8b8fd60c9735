// Read URLs as JSON from standard input, and print the host that a browser's URL parser finds in each.
import { text } from "node:stream/consumers";

const urls = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(urls.map((each) => (URL.canParse(each) ? new URL(each).hostname : null))));

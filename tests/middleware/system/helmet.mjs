// The headers that helmet sets by default, as JSON.
import { createServer } from "node:http";
import helmet from "helmet";

const secure = helmet();
const server = createServer((request, response) => secure(request, response, () => response.end()));
server.listen(0, "127.0.0.1", async () => {
  const response = await fetch(`http://127.0.0.1:${server.address().port}/`);
  console.log(JSON.stringify(Object.fromEntries(response.headers)));
  server.closeAllConnections();
  server.close();
});

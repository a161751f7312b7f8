// A client of the TypeScript SDK: does what standard input asks of `planner mcp`, and prints what came back as one JSON.
//
//   node client.mjs COMMAND [ARGUMENT ...] < {"root": DIR, "calls": [{"name": ..., "arguments": ..., "cancelAfter": N}]}
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const asked = JSON.parse(readFileSync(0, 'utf8'));
const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: 'test', version: '1' }, { capabilities: { roots: {} } });
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: pathToFileURL(asked.root).href }] }));
await client.connect(new StdioClientTransport({ command, args }));
const found = { server: client.getServerVersion(), tools: (await client.listTools()).tools, results: [] };
for (const { cancelAfter, ...call } of asked.calls) {
  const progress = [];
  const controller = new AbortController();
  const onprogress = (step) => {
    progress.push(step.message);
    if (progress.length === cancelAfter) controller.abort('enough');
  };
  try {
    const result = await client.callTool(call, undefined, { onprogress, signal: controller.signal, timeout: 120_000 });
    found.results.push({ ...result, progress });
  } catch (error) {
    found.results.push({ thrown: String(error), progress });
  }
}
await client.close();
console.log(JSON.stringify(found));

// The official Node SDK against a live server at QUORUM_BASE_URL. Exit status 0 if every test passes.
//   NODE_PATH is not looked at for modules: run it from a folder that has node_modules/openai, or set OPENAI_MODULE.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const where = process.env.OPENAI_MODULE ?? process.cwd();
const found = createRequire(pathToFileURL(path.join(where, "package.json"))).resolve("openai");
const { default: OpenAI } = await import(pathToFileURL(found));

const base = process.env.QUORUM_BASE_URL;
assert(base, "QUORUM_BASE_URL is not set");
const client = new OpenAI({ baseURL: base + "/v1", apiKey: "none", maxRetries: 0 });
const model = process.env.QUORUM_MODEL_ID ?? (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Name the days of the week." }];
const ask = (extra = {}) => ({ model, messages, temperature: 0, max_tokens: 24, ...extra });

const tests = {
  "models are listed and retrieved": async () => {
    const ids = [];
    for await (const entry of client.models.list()) ids.push(entry.id);
    assert(ids.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
    await assert.rejects(client.models.retrieve("no/such:model"), OpenAI.NotFoundError);
  },

  "chat, whole and streamed, say the same": async () => {
    const whole = await client.chat.completions.create(ask());
    assert.equal(whole.object, "chat.completion");
    let text = "";
    const ids = new Set();
    for await (const chunk of await client.chat.completions.create(ask({ stream: true }))) {
      ids.add(chunk.id);
      text += chunk.choices[0].delta.content ?? "";
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(ids.size, 1);
  },

  "the SDK's accumulator agrees, with usage and n": async () => {
    const options = { n: 2, temperature: 1, seed: 5, logprobs: true, top_logprobs: 1 };
    const whole = await client.chat.completions.create(ask(options));
    const runner = client.chat.completions.stream(ask({ ...options, stream_options: { include_usage: true } }));
    const final = await runner.finalChatCompletion();
    assert.deepEqual(final.choices.map(c => c.message.content), whole.choices.map(c => c.message.content));
    assert.deepEqual(final.choices.map(c => c.finish_reason), whole.choices.map(c => c.finish_reason));
    assert.deepEqual(final.choices.map(c => c.logprobs.content), whole.choices.map(c => c.logprobs.content));
    assert.equal(final.usage.total_tokens, whole.usage.total_tokens);
  },

  "include_usage comes last": async () => {
    const chunks = [];
    for await (const chunk of await client.chat.completions.create(
      ask({ stream: true, stream_options: { include_usage: true } }))) chunks.push(chunk);
    assert.deepEqual(chunks.at(-1).choices, []);
    assert(chunks.at(-1).usage.completion_tokens > 0);
    assert(chunks.slice(0, -1).every(c => c.usage === null));
  },

  "completions: text, ids, echo, stream": async () => {
    const whole = await client.completions.create({ model, prompt: "One two", temperature: 0, max_tokens: 8, echo: true, logprobs: 1 });
    assert(whole.choices[0].text.startsWith("One two"));
    assert.equal(whole.choices[0].logprobs.token_logprobs[0], null);
    let text = "";
    for await (const chunk of await client.completions.create(
      { model, prompt: "One two", temperature: 0, max_tokens: 8, echo: true, stream: true })) text += chunk.choices[0].text;
    assert.equal(text, whole.choices[0].text);
    const ids = await (await fetch(base + "/tokenize", { method: "POST", body: JSON.stringify({ content: "One two" }) })).json();
    const byIds = await client.completions.create({ model, prompt: ids.tokens, temperature: 0, max_tokens: 8, echo: true });
    assert.equal(byIds.choices[0].text, text);
  },

  "errors are the SDK's classes, with param and code": async () => {
    await assert.rejects(client.chat.completions.create(ask({ temperature: 3 })), error =>
      error instanceof OpenAI.BadRequestError && error.param === "temperature" && error.type === "invalid_request_error");
    await assert.rejects(client.chat.completions.create(ask({ stream: true, messages: [] })), OpenAI.BadRequestError);
    await assert.rejects(client.chat.completions.create(ask({ messages: [{ role: "user", content: "word ".repeat(100000) }] })),
      error => error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded");
    await assert.rejects(client.post("/no/such/path", { body: {} }), OpenAI.NotFoundError);
  },

  "stop and seed": async () => {
    const text = (await client.chat.completions.create(ask({ max_tokens: 40 }))).choices[0].message.content;
    const stop = [...text].slice(4, 6).join("");
    const cut = (await client.chat.completions.create(ask({ max_tokens: 40, stop }))).choices[0];
    assert.equal(cut.message.content, text.slice(0, text.indexOf(stop)));
    const draw = async seed =>
      (await client.chat.completions.create(ask({ temperature: 1, seed }))).choices[0].message.content;
    assert.deepEqual(await Promise.all([draw(1), draw(2), draw(1)]), [await draw(1), await draw(2), await draw(1)]);
  },

  "a stream can be left": async () => {
    const stream = await client.chat.completions.create(ask({ stream: true, max_tokens: 1500, ignore_eos: true }));
    let seen = 0;
    for await (const _ of stream) if (++seen === 4) break;  // the SDK aborts the request
    assert.equal(seen, 4);
    assert((await client.chat.completions.create(ask({ max_tokens: 1 }))).usage.completion_tokens === 1);
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log("ok    " + name);
  } catch (error) {
    ++failed;
    console.log("FAIL  " + name + "\n" + (error.stack ?? error));
  }
}
console.log(`${Object.keys(tests).length - failed} of ${Object.keys(tests).length} passed`);
process.exit(failed === 0 ? 0 : 1);

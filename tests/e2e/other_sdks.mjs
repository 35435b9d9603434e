// Vercel's AI SDK and Anthropic's Node SDK against a live server at QUORUM_BASE_URL. Exit status 0 if every test passes.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const require = createRequire(pathToFileURL(path.join(process.env.OPENAI_MODULE ?? process.cwd(), "package.json")));
const load = name => import(pathToFileURL(require.resolve(name)));
const { generateText, streamText, embedMany, tool } = await load("ai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { default: Anthropic } = await load("@anthropic-ai/sdk");
const { z } = await load("zod");

const base = process.env.QUORUM_BASE_URL;
const id = (await (await fetch(base + "/v1/models")).json()).data[0].id;
const provider = createOpenAICompatible({ name: "quorum", baseURL: base + "/v1", includeUsage: true });
const prompt = "Name the days of the week.";
const settings = { model: provider(id), prompt, temperature: 0, maxOutputTokens: 24, maxRetries: 0 };

const tests = {
  "ai: text, whole and streamed": async () => {
    const whole = await generateText(settings);
    assert(whole.text.length > 0);
    const stream = streamText(settings);
    let text = "";
    for await (const piece of stream.textStream) text += piece;
    assert.equal(text, whole.text);
    assert.equal(await stream.finishReason, whole.finishReason);
    assert.equal((await stream.usage).totalTokens, whole.usage.totalTokens);
  },

  "ai: tools are offered": async () => {
    const weather = tool({ description: "d", inputSchema: z.object({ city: z.string() }) });
    const answer = await generateText({ ...settings, tools: { weather } });
    assert(["stop", "length", "tool-calls"].includes(answer.finishReason));
  },

  "ai: embeddings": async () => {
    const { embeddings } = await embedMany({ model: provider.textEmbeddingModel(id), values: ["a", "b", "a"] });
    assert.deepEqual(embeddings[0], embeddings[2]);
    assert.notDeepEqual(embeddings[0], embeddings[1]);
  },

  "ai: an error says what the server said": async () => {
    await assert.rejects(generateText({ ...settings, temperature: 9 }), /temperature/);
  },

  "anthropic: a message and its stream": async () => {
    const client = new Anthropic({ baseURL: base, apiKey: "none", maxRetries: 0 });
    const body = { model: id, max_tokens: 24, temperature: 0, messages: [{ role: "user", content: prompt }] };
    const whole = await client.messages.create(body);
    const final = await client.messages.stream(body).finalMessage();
    assert.equal(final.content[0].text, whole.content[0].text);
    assert.equal(final.stop_reason, whole.stop_reason);
    await assert.rejects(client.messages.create({ ...body, messages: [] }), Anthropic.BadRequestError);
  },
};

let failed = 0;
for (const [name, run] of Object.entries(tests)) {
  try {
    await run();
    console.log(`ok   ${name}`);
  } catch (error) {
    ++failed;
    console.log(`FAIL ${name}\n${error.stack}`);
  }
}
process.exit(failed ? 1 : 0);

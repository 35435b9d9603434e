#include "server/web_page.h"

namespace quorum::server {

std::string_view WebPage() {
  return R"HTML(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quorum</title>
<style>
  :root { color-scheme: light dark; --line: #8886; --soft: #8882; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 8rem; }
  h1 { font-size: 1.3rem; margin: 0; }
  header p, #note { color: color-mix(in srgb, currentColor 65%, transparent); margin: .2rem 0 1rem; }
  .message { white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem .8rem; margin: .6rem 0; border-radius: .6rem; }
  .user { background: var(--soft); margin-left: 3rem; }
  .assistant { border: 1px solid var(--line); }
  .error { border: 1px solid #c33; }
  form { position: fixed; inset: auto 0 0 0; background: Canvas; border-top: 1px solid var(--line); }
  form div { max-width: 46rem; margin: 0 auto; padding: .7rem 1rem; display: flex; gap: .5rem; }
  textarea { flex: 1; font: inherit; padding: .5rem; border-radius: .5rem; resize: vertical; }
  button { font: inherit; padding: .4rem 1rem; border-radius: .5rem; }
  details { margin-bottom: 1rem; } label { display: block; margin: .3rem 0; }
  code { background: var(--soft); padding: .1em .3em; border-radius: .3em; }
</style>
<header>
  <h1>Quorum</h1>
  <p>A CPU server for Mixture-of-Experts language models, with an OpenAI-compatible API under <code>/v1</code>.
     <span id="model"></span></p>
</header>
<details>
  <summary>Settings</summary>
  <label>API key <input id="key" type="password" autocomplete="off" placeholder="only if the server asks for one"></label>
  <label>System message <input id="system" size="40"></label>
  <label>Temperature <input id="temperature" type="number" min="0" max="2" step="0.1" value="0.7"></label>
</details>
<main id="log" aria-live="polite"></main>
<form id="form"><div>
  <textarea id="text" rows="2" placeholder="Write a message; Enter sends it" aria-label="Message" autofocus></textarea>
  <button id="send">Send</button>
</div></form>
<script>
"use strict";
const $ = id => document.getElementById(id);
const messages = [];
let running = null;

function headers() {
  const key = $("key").value.trim();
  return key ? {"Authorization": "Bearer " + key} : {};
}

function show(kind, text) {
  const box = document.createElement("div");
  box.className = "message " + kind;
  box.textContent = text;
  $("log").append(box);
  box.scrollIntoView({block: "end"});
  return box;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    held += value;
    let end;
    while ((end = held.indexOf("\n\n")) >= 0) {
      const event = held.slice(0, end);
      held = held.slice(end + 2);
      if (event.startsWith("data: ") && event !== "data: [DONE]") yield JSON.parse(event.slice(6));
    }
  }
}

async function send(text) {
  messages.push({role: "user", content: text});
  show("user", text);
  const box = show("assistant", "");
  let reply = "";
  running = new AbortController();
  $("send").textContent = "Stop";
  try {
    const system = $("system").value.trim();
    const response = await fetch("/v1/chat/completions", {
      method: "POST", signal: running.signal,
      headers: {"Content-Type": "application/json", ...headers()},
      body: JSON.stringify({messages: [...(system ? [{role: "system", content: system}] : []), ...messages],
                            temperature: Number($("temperature").value), stream: true})});
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      reply += event.choices[0]?.delta?.content ?? "";
      box.textContent = reply;
      box.scrollIntoView({block: "end"});
    }
  } catch (error) {
    if (error.name !== "AbortError") show("error", error.message);
  }
  if (reply) messages.push({role: "assistant", content: reply}); else { messages.pop(); box.remove(); }
  running = null;
  $("send").textContent = "Send";
}

$("form").addEventListener("submit", event => {
  event.preventDefault();
  if (running) return running.abort();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  send(text);
});
$("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("form").requestSubmit(); }
});
fetch("/v1/models", {headers: headers()}).then(r => r.json())
  .then(list => { $("model").textContent = "Model: " + list.data[0].id + "."; }).catch(() => {});
</script>
</html>
)HTML";
}

}  // namespace quorum::server

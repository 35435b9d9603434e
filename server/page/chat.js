// Chatting, comparing, settings and tabs.
import {markdown} from "/page/markdown.js";
import {tokenBox, tokensOf} from "/page/tokens.js";

export const $ = id => document.getElementById(id);

export function headers() {
  const key = $("key").value.trim();
  return key ? {"Authorization": "Bearer " + key} : {};
}

// --- tabs ---
const tabs = [...document.querySelectorAll("[role=tab]")];
function select(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  document.dispatchEvent(new CustomEvent("view", {detail: tab.id.slice(4)}));
}
tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const next = tabs[(index + step + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
});

// --- requests ---
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

/** "3, 0:5" to the mask of a request: experts of all layers ("*"), or of one. Throws on anything else. */
export function readMask(text) {
  const mask = {};
  for (const word of text.split(/[\s,;]+/).filter(Boolean)) {
    const match = word.match(/^(?:(\d+):)?(\d+)$/);
    if (!match) throw new Error(`"${word}" is no expert: write a number, or layer:expert`);
    (mask[match[1] === undefined ? "*" : Number(match[1])] ??= []).push(Number(match[2]));
  }
  return mask;
}

function moeOptions(topK, minWeight, mask, report) {
  const moe = {};
  if (topK !== "") moe.top_k = Number(topK);
  if (minWeight !== "") moe.min_weight = Number(minWeight);
  const masked = readMask(mask);
  if (Object.keys(masked).length) moe.mask = masked;
  if (report && document.body.classList.contains("has-experts")) moe.report = "tokens";
  return moe;
}

/** Streams one reply. `show(part)` gets {content, reasoning, moe} pieces. Returns how it ended and its usage. */
async function reply(body, signal, show) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST", signal, headers: {"Content-Type": "application/json", ...headers()},
    body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}})});
  if (!response.ok) throw new Error((await response.json()).error.message);
  const end = {finish: null, usage: null, ignored: response.headers.get("x-quorum-ignored")};
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    const choice = event.choices[0];
    if (choice?.finish_reason) end.finish = choice.finish_reason;
    if (event.usage) end.usage = event.usage;
    const moe = choice?.moe ?? event.moe;
    if (choice?.delta?.content || choice?.delta?.reasoning_content || moe) {
      show({content: choice?.delta?.content ?? "", reasoning: choice?.delta?.reasoning_content ?? "", moe});
    }
  }
  return end;
}

function message(kind, text = "") {
  const box = document.createElement("div");
  box.className = "message " + kind;
  box.textContent = text;
  return box;
}

/** Shows a growing reply as Markdown, drawn at most once a frame. */
class ReplyView {
  constructor(box, drawn = () => {}) { this.box = box; this.drawn = drawn; this.text = ""; this.reasoning = ""; this.reports = []; this.drawing = 0; }
  add(part) {
    this.text += part.content;
    this.reasoning += part.reasoning;
    if (part.moe) this.reports.push(part.moe);
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.draw(); });
  }
  /** Nothing more comes: what is drawn later stays. */
  finish() {
    cancelAnimationFrame(this.drawing);
    this.drawing = 0;
    this.draw();
  }
  draw() {
    const nodes = markdown(this.text);
    if (this.reasoning) {
      const thought = document.createElement("div");
      thought.className = "reasoning";
      thought.textContent = this.reasoning;
      nodes.unshift(thought);
    }
    this.box.replaceChildren(...nodes);
    this.drawn();
  }
}

// --- chat ---
const messages = [];
let running = null;

// The conversation grows at the end of the page, above the form that sticks there. It is followed while its end is in
// view; whoever scrolls up to read stays there.
let following = true;
function follow() {
  if (following && !$("view-chat").hidden) scrollTo({top: document.documentElement.scrollHeight, behavior: "instant"});
}
addEventListener("scroll", () => {
  if ($("view-chat").hidden) return;
  const below = document.documentElement.scrollHeight - innerHeight - scrollY;
  following = below < $("form").offsetHeight;
}, {passive: true});
addEventListener("resize", follow);
document.addEventListener("view", follow);

function chatBody() {
  const system = $("system").value.trim();
  const body = {messages: [...(system ? [{role: "system", content: system}] : []),
                           ...messages.map(({role, content}) => ({role, content}))],
                temperature: Number($("temperature").value), top_p: Number($("top-p").value)};
  if ($("max-tokens").value !== "") body.max_tokens = Number($("max-tokens").value);
  if ($("seed").value !== "") body.seed = Number($("seed").value);
  const moe = moeOptions($("moe-top-k").value, $("moe-min-weight").value, $("moe-mask").value, $("moe-report").checked);
  if (Object.keys(moe).length) body.moe = moe;
  return body;
}

async function answer() {
  const box = message("assistant");
  $("log").append(box);
  following = true;
  follow();
  const view = new ReplyView(box, follow);
  const meta = document.createElement("div");
  meta.className = "meta";
  running = new AbortController();
  const started = performance.now();
  $("send").textContent = "Stop";
  $("retry").disabled = true;
  let note = "";
  try {
    const end = await reply(chatBody(), running.signal, part => view.add(part));
    const seconds = (performance.now() - started) / 1000;
    if (end.usage) note = `${end.usage.completion_tokens} tokens, ${(end.usage.completion_tokens / seconds).toFixed(1)} tokens/s`;
    if (end.finish === "length") note += ", cut by the limit";
    if (end.ignored) note += `; not honoured: ${end.ignored}`;
  } catch (error) {
    if (error.name === "AbortError") note = "stopped";
    else $("log").append(message("error", error.message));
  }
  running = null;
  view.finish();
  if (view.text) {
    messages.push({role: "assistant", content: view.text});
    meta.append(note);
    document.dispatchEvent(new CustomEvent("reply", {detail: {box, meta, view}}));
    box.after(meta);
  } else {
    box.remove();
  }
  follow();
  $("send").textContent = "Send";
  $("retry").disabled = !messages.length;
}

$("form").addEventListener("submit", event => {
  event.preventDefault();
  if (running) return running.abort();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  messages.push({role: "user", content: text});
  $("log").append(message("user", text));
  answer();
});
$("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("form").requestSubmit(); }
});
addEventListener("keydown", event => {
  if (event.key === "Escape" && !event.isComposing) running?.abort();
});
$("key-form").addEventListener("submit", event => event.preventDefault());
$("retry").addEventListener("click", () => {
  if (running) return;
  if (messages.at(-1)?.role === "assistant") messages.pop();
  const boxes = [...$("log").children];
  while (boxes.length && !boxes.at(-1).classList.contains("user")) boxes.pop().remove();
  if (messages.length) answer();
});
$("clear").addEventListener("click", () => {
  running?.abort();
  messages.length = 0;
  $("log").replaceChildren();
  $("retry").disabled = true;
  $("text").focus();
});

// --- compare ---
function countSame(left, right) {
  let same = 0;
  while (same < Math.min(left.length, right.length) && left[same] === right[same]) ++same;
  return same;
}

/** Draws two replies that are over, marked from where they part on: token by token where that is known. */
function markDifference(views) {
  const tokens = views.map(view => tokensOf(view.reports));
  if (tokens.every(list => list.length)) {
    const same = countSame(...tokens.map(list => list.map(token => token.token)));
    views.forEach((view, i) => view.box.replaceChildren(tokenBox(tokens[i], same)));
    return;
  }
  const same = countSame(...views.map(view => view.text));
  for (const view of views) {
    const plain = document.createElement("div");
    plain.className = "tokens";
    const rest = document.createElement("mark");
    rest.textContent = view.text.slice(same);
    plain.append(view.text.slice(0, same), rest);
    view.box.replaceChildren(plain);
  }
}

$("compare-form").addEventListener("submit", async event => {
  event.preventDefault();
  if (running) return running.abort();
  running = new AbortController();
  $("compare-run").textContent = "Stop";
  $("compare-note").textContent = "";
  const body = {messages: [{role: "user", content: $("compare-text").value}], temperature: 0, seed: 1,
                max_tokens: Number($("compare-max").value) || 128};
  const views = ["compare-left", "compare-right"].map(id => new ReplyView($(id)));
  views.forEach(view => view.draw());
  try {
    const own = moeOptions("", "", "", true);
    const changed = moeOptions($("compare-top-k").value, "", $("compare-mask").value, true);
    const ends = await Promise.all([own, changed].map((moe, i) =>
      reply(Object.keys(moe).length ? {...body, moe} : body, running.signal, part => views[i].add(part))));
    views.forEach(view => view.finish());
    markDifference(views);
    const same = countSame(...views.map(view => view.text));
    const equal = views[0].text === views[1].text;
    $("compare-note").textContent = equal ? "Both replies are the same." : `The replies part after ${same} characters.` +
      (ends[1].ignored ? ` Not honoured: ${ends[1].ignored}.` : "");
  } catch (error) {
    $("compare-note").textContent = error.name === "AbortError" ? "Stopped." : error.message;
  }
  running = null;
  $("compare-run").textContent = "Compare";
});

fetch("/v1/models", {headers: headers()}).then(response => response.json())
  .then(list => { $("model").textContent = list.data[0].id; }).catch(() => {});
$("text").focus();

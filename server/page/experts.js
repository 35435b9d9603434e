// The engine's gauges and the view of the experts: heat map, entropy, load, and which experts a token used.
import {$, headers} from "/page/chat.js";
import {hideTip, tokenBox, tokensOf} from "/page/tokens.js";

const POLL = 2000;

// --- gauges ---
let before = null;
function metric(text, name) {
  const match = text.match(new RegExp(`^${name} (\\S+)$`, "m"));
  return match ? Number(match[1]) : null;
}
async function gauges() {
  const response = await fetch("/metrics", {headers: headers()});
  if (!response.ok) return;
  const text = await response.text();
  const bytes = metric(text, "quorum_weight_bytes_read_total");
  const now = {at: performance.now(), tokens: metric(text, "quorum_generated_tokens_total"),
               bytes: bytes === null ? null : bytes + metric(text, "quorum_kv_bytes_read_total"),
               busy: metric(text, "quorum_busy_seconds_total")};
  if (before && now.tokens !== null) {
    $("gauge-speed").textContent = Math.max(0, (now.tokens - before.tokens) / ((now.at - before.at) / 1000)).toFixed(1);
  }
  if (before && now.bytes !== null && now.busy > before.busy) {
    $("gauge-bandwidth").textContent = ((now.bytes - before.bytes) / (now.busy - before.busy) / 1e9).toFixed(1);
  }
  before = now;
  $("gauge-running").textContent = metric(text, "quorum_running_sequences") ?? "–";
  $("gauge-waiting").textContent = metric(text, "quorum_waiting_sequences") ?? "–";
  const pages = metric(text, "quorum_kv_pages");
  if (pages) $("gauge-pages").textContent = `${metric(text, "quorum_kv_pages_used")}/${pages}`;
  const prompt = metric(text, "quorum_prompt_tokens_total");
  if (prompt) $("gauge-cached").textContent = `${Math.round(100 * metric(text, "quorum_cached_tokens_total") / prompt)} %`;
}

// --- the map ---
let CELL = 14;
const LEFT = 30, TOP = 18;  // room for the numbers of layers and experts
let first = null, previous = null, latest = null, shown = null, cursor = null;

function minus(a, b) {
  return b ? a.map((row, l) => row.map((count, e) => count - b[l][e])) : a;
}
function chosenCounts() {
  const mode = document.querySelector("input[name=map]:checked").value;
  return mode === "all" ? latest.tokens : minus(latest.tokens, (mode === "since" ? first : previous)?.tokens);
}

function color(share, experts, dark) {
  // An even share is in the middle of the scale; the scale is logarithmic, four times as much is full.
  const level = share === 0 ? 0 : Math.min(1, Math.max(0.06, 0.5 + Math.log2(share * experts) / 4));
  return dark ? `hsl(220 ${20 + 75 * level}% ${15 + 63 * level}%)` : `hsl(220 ${25 + 60 * level}% ${95 - 65 * level}%)`;
}

function draw() {
  const {layers, experts} = latest;
  const counts = chosenCounts();
  shown = counts.map(row => {
    const total = row.reduce((a, b) => a + b, 0);
    return {row, total, shares: row.map(count => total ? count / total : 0)};
  });
  const canvas = $("map");
  CELL = Math.min(28, Math.max(10, Math.floor(($("view-experts").clientWidth - LEFT - 14) / experts)));
  const width = LEFT + experts * CELL, height = TOP + layers * CELL;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(devicePixelRatio, devicePixelRatio);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  numbers(context, layers, experts);
  context.translate(LEFT, TOP);
  shown.forEach(({shares}, layer) => shares.forEach((share, expert) => {
    context.fillStyle = color(share, experts, dark);
    context.fillRect(expert * CELL, layer * CELL, CELL - 1, CELL - 1);
  }));
  if (cursor) {
    context.strokeStyle = dark ? "#fff" : "#000";
    context.lineWidth = 2;
    context.strokeRect(cursor.expert * CELL, cursor.layer * CELL, CELL - 1, CELL - 1);
  }
  table(experts);
}

/** Numbers along the edges, as many as fit. */
function numbers(context, layers, experts) {
  context.fillStyle = getComputedStyle($("map-note")).color;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "center";
  const across = Math.ceil(22 / CELL);
  for (let expert = 0; expert < experts; expert += across) context.fillText(expert, LEFT + (expert + .5) * CELL, TOP / 2);
  context.textAlign = "right";
  const down = Math.ceil(13 / CELL);
  for (let layer = 0; layer < layers; layer += down) context.fillText(layer, LEFT - 5, TOP + (layer + .5) * CELL);
}

function table(experts) {
  const rows = shown.map(({shares, total}, layer) => {
    const row = document.createElement("tr");
    const entropy = shares.reduce((sum, p) => p > 0 ? sum - p * Math.log2(p) : sum, 0);
    const most = Math.max(...shares);
    const texts = total ? [layer, entropy.toFixed(2), `${Math.round(100 * entropy / Math.log2(experts))} %`,
                           shares.indexOf(most), (most * experts).toFixed(2)] : [layer, "–", "–", "–", "–"];
    row.append(...texts.map(text => { const cell = document.createElement("td"); cell.textContent = text; return cell; }));
    return row;
  });
  $("layers").tBodies[0].replaceChildren(...rows);
}

function describe() {
  if (!cursor || !shown?.[cursor.layer]) return;
  const {row, shares} = shown[cursor.layer];
  $("map-note").textContent = `Layer ${cursor.layer}, expert ${cursor.expert}: ${row[cursor.expert]} tokens, ` +
    `${(100 * shares[cursor.expert]).toFixed(1)} % of the layer's choices`;
}
$("map").addEventListener("pointermove", event => {
  const box = $("map").getBoundingClientRect();
  cursor = {expert: Math.min(latest.experts - 1, Math.max(0, Math.floor((event.clientX - box.left - LEFT) / CELL))),
            layer: Math.min(latest.layers - 1, Math.max(0, Math.floor((event.clientY - box.top - TOP) / CELL)))};
  draw();
  describe();
});
$("map").addEventListener("keydown", event => {
  const [dx, dy] = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]}[event.key] ?? [];
  if (dx === undefined || !latest) return;
  event.preventDefault();
  cursor ??= {expert: 0, layer: 0};
  cursor = {expert: (cursor.expert + dx + latest.experts) % latest.experts,
            layer: (cursor.layer + dy + latest.layers) % latest.layers};
  draw();
  describe();
});
document.querySelectorAll("input[name=map]").forEach(input => input.addEventListener("change", () => latest && draw()));

async function experts() {
  const response = await fetch("/v1/experts", {headers: headers()});
  if (!response.ok) return;
  const now = await response.json();
  const has = now.layers > 0;
  document.body.classList.toggle("has-experts", has);
  document.querySelectorAll(".experts-only").forEach(node => { node.hidden = !has; });
  $("experts-none").hidden = has;
  if (!has) return;
  $("moe-top-k").max = $("compare-top-k").max = now.experts;
  first ??= now;
  previous = latest;
  latest = now;
  if (!$("view-experts").hidden) { draw(); describe(); }
}

// --- which experts a token used ---
document.addEventListener("reply", event => {
  const {box, meta, view} = event.detail;
  const tokens = tokensOf(view.reports);
  if (!tokens.length) return;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Experts by token";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", on);
    hideTip();
    if (on) box.replaceChildren(tokenBox(tokens));
    else view.draw();
  });
  meta.append(button);
});

async function poll() {
  if (document.visibilityState === "visible") {
    try { await Promise.all([gauges(), experts()]); } catch { /* the server is away; it may come back */ }
  }
  setTimeout(poll, POLL);
}
document.addEventListener("view", event => { if (event.detail === "experts") experts().catch(() => {}); });
poll();

// The tokens of a reply, each with the experts that it was drawn from: by pointer, by keyboard, by touch.
const tip = document.getElementById("tip");
let shown = null;  // the token that the tip belongs to

function place() {
  const box = shown.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${box.bottom + tip.offsetHeight + 8 < innerHeight ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)}px`;
}
function showTip(token, text) {
  shown = token;
  tip.textContent = text;
  tip.classList.toggle("long", text.split("\n").length > 20);
  tip.hidden = false;
  place();
}
export function hideTip() {
  shown = null;
  tip.hidden = true;
}
addEventListener("keydown", event => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", () => { if (shown) place(); }, {passive: true});

/** One line a layer: the experts of a token and their weights. */
function lines(token) {
  return token.layers.map(({layer, experts, weights}) => `layer ${String(layer).padStart(2)}: ` +
    experts.map((e, i) => `${e} (${weights[i].toFixed(2)})`).join(", ")).join("\n");
}

/** The reports of single tokens among a reply's reports; a report of the whole reply has their number there. */
export function tokensOf(reports) {
  return reports.flatMap(report => Array.isArray(report.tokens) ? report.tokens : []);
}

/** A box with a span a token; those from `other` on are marked. One stop for the Tab key, arrows go on from there. */
export function tokenBox(tokens, other = tokens.length) {
  const box = document.createElement("div");
  box.className = "tokens";
  const spans = tokens.map((token, index) => {
    const span = document.createElement(index >= other ? "mark" : "span");
    span.className = "token";
    span.tabIndex = index === 0 ? 0 : -1;
    span.textContent = token.token;
    const show = () => showTip(span, lines(token));
    span.addEventListener("pointerenter", show);
    span.addEventListener("focus", show);
    span.addEventListener("pointerleave", hideTip);
    span.addEventListener("blur", hideTip);
    return span;
  });
  box.addEventListener("keydown", event => {
    const at = spans.indexOf(document.activeElement);
    const next = spans[at + ({ArrowRight: 1, ArrowLeft: -1}[event.key] ?? NaN)];
    if (at < 0 || !next) return;
    event.preventDefault();
    spans[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  box.append(...spans);
  return box;
}

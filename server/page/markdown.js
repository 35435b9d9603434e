// Markdown to DOM nodes: what models write (headings, lists, code, tables, quotes, emphasis, links). Text only ever
// becomes text nodes, so nothing that a model writes can run.

const INLINE = /(`+)([\s\S]*?[^`])\1(?!`)|\*\*([\s\S]+?)\*\*|__([\s\S]+?)__|\*([^*\s][^*]*?)\*|(?<![\w])_([^_\s][^_]*?)_(?![\w])|~~([\s\S]+?)~~|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/g;

function element(name, ...children) {
  const node = document.createElement(name);
  node.append(...children);
  return node;
}

function inline(text, depth = 0) {
  const nodes = [];
  let at = 0;
  for (const match of depth > 8 ? [] : text.matchAll(INLINE)) {
    if (match.index > at) nodes.push(text.slice(at, match.index));
    const [whole, , code, strong, strong2, em, em2, del, label, href] = match;
    if (code !== undefined) nodes.push(element("code", code.trim() || code));
    else if (strong ?? strong2) nodes.push(element("strong", ...inline(strong ?? strong2, depth + 1)));
    else if (em ?? em2) nodes.push(element("em", ...inline(em ?? em2, depth + 1)));
    else if (del) nodes.push(element("del", ...inline(del, depth + 1)));
    else {
      const link = element("a", ...inline(label, depth + 1));
      link.href = href;
      link.rel = "noopener noreferrer";
      link.target = "_blank";
      nodes.push(link);
    }
    at = match.index + whole.length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const indent = line => line.match(/^\s*/)[0].length;

function list(lines, depth) {
  const first = lines[0].match(ITEM);
  const node = element(/\d/.test(first[2]) ? "ol" : "ul");
  if (node.tagName === "OL" && parseInt(first[2]) !== 1) node.start = parseInt(first[2]);
  const base = first[1].length;
  let item = null;
  for (const line of lines) {
    const match = line.match(ITEM);
    if (match && match[1].length <= base) {
      item = [match[3]];
      node.append(element("li"));
      node.lastChild.source = item;
    } else if (item) {
      item.push(line.slice(Math.min(indent(line), base + 2)));
    }
  }
  for (const li of node.children) li.append(...blocks(li.source, depth + 1, true));
  return node;
}

function cells(line) { return line.replace(/^\s*\||\|\s*$/g, "").split("|").map(cell => cell.trim()); }

function table(lines) {
  const head = element("tr", ...cells(lines[0]).map(cell => element("th", ...inline(cell))));
  const rows = lines.slice(2).map(line => element("tr", ...cells(line).map(cell => element("td", ...inline(cell)))));
  return element("table", element("thead", head), element("tbody", ...rows));
}

function blocks(lines, depth = 0, tight = false) {
  const out = [];
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    const fence = line.match(/^\s*(```+|~~~+)\s*(\S*)/);
    if (fence) {
      let end = i + 1;
      while (end < lines.length && !lines[end].trim().startsWith(fence[1])) ++end;
      out.push(element("pre", element("code", lines.slice(i + 1, end).join("\n"))));
      i = end + 1;
      continue;
    }
    if (!line.trim()) { ++i; continue; }
    const heading = line.match(/^(#{1,6})\s+(.*?)\s*#*$/);
    if (heading) {
      out.push(element("h" + Math.min(6, heading[1].length + 1), ...inline(heading[2])));
      ++i;
      continue;
    }
    if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) { out.push(element("hr")); ++i; continue; }
    let end = i + 1;
    if (/^\s*>/.test(line) && depth < 8) {
      while (end < lines.length && /^\s*>/.test(lines[end])) ++end;
      out.push(element("blockquote", ...blocks(lines.slice(i, end).map(l => l.replace(/^\s*>\s?/, "")), depth + 1)));
    } else if (ITEM.test(line) && depth < 8) {
      while (end < lines.length && (lines[end].trim() ? ITEM.test(lines[end]) || indent(lines[end]) > indent(line) :
                                    end + 1 < lines.length && (ITEM.test(lines[end + 1]) || indent(lines[end + 1]) > indent(line)))) ++end;
      out.push(list(lines.slice(i, end), depth));
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[i + 1] ?? "")) {
      while (end < lines.length && lines[end].includes("|")) ++end;
      out.push(table(lines.slice(i, end)));
    } else {
      while (end < lines.length && lines[end].trim() && !/^\s*(```|~~~|#{1,6}\s|>)/.test(lines[end]) && !ITEM.test(lines[end])) ++end;
      const text = inline(lines.slice(i, end).join("\n"));
      out.push(...(tight ? text : [element("p", ...text)]));
    }
    i = end;
  }
  return out;
}

/** DOM nodes for a text of Markdown. */
export function markdown(text) { return blocks(text.split("\n")); }

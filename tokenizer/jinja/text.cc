#include "tokenizer/jinja/text.h"

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/macro.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

void AppendItems(TextBuilder& out, const std::vector<Value>& items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out.Append(", ");
    AppendRepr(out, items[i]);
  }
}

void AppendDict(TextBuilder& out, const DictMap& map) {
  out.Append('{');
  bool first = true;
  for (const DictMap::Entry& entry : map.entries()) {
    if (!first) out.Append(", ");
    first = false;
    AppendRepr(out, entry.first);
    out.Append(": ");
    AppendRepr(out, entry.second);
  }
  out.Append('}');
}

void AppendView(TextBuilder& out, const ViewObject& view) {
  out.Append(view.what == ViewObject::What::kKeys     ? "dict_keys(["
             : view.what == ViewObject::What::kValues ? "dict_values(["
                                                      : "dict_items([");
  for (std::size_t i = 0; i < view.map().size(); ++i) {
    if (i != 0) out.Append(", ");
    AppendRepr(out, view.item(i));
  }
  out.Append("])");
}

void AppendRange(TextBuilder& out, const RangeObject& range) {
  out.Append("range(" + std::to_string(range.start) + ", " + std::to_string(range.stop));
  if (range.step != 1) out.Append(", " + std::to_string(range.step));
  out.Append(')');
}

}  // namespace

void AppendStr(TextBuilder& out, const Value& value) {
  if (value.is_string()) {
    out.Append(TextOf(value));
  } else if (!value.is_undefined() && !value.is_missing()) {
    AppendRepr(out, value);
  }
}

void AppendRepr(TextBuilder& out, const Value& value) {
  out.budget().Visit();
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined: out.Append("Undefined"); break;
    case Kind::kNone: out.Append("None"); break;
    case Kind::kBool: out.Append(value.boolean() ? "True" : "False"); break;
    case Kind::kInt: out.Append(std::to_string(value.integer())); break;
    case Kind::kBigInt: out.Append(std::to_string(value.big())); break;
    case Kind::kFloat: out.Append(FloatRepr(value.number())); break;
    case Kind::kFunction: out.Append("<function " + std::string(value.function()->name) + ">"); break;
    case Kind::kString:
      if (IsMarkup(value)) out.Append("Markup(");
      AppendQuoted(out, TextOf(value));
      if (IsMarkup(value)) out.Append(')');
      break;
    case Kind::kList:
    case Kind::kTuple: {
      const Budget::Nested nested(out.budget());
      const bool list = value.is(Kind::kList);
      out.Append(list ? '[' : '(');
      AppendItems(out, ItemsOf(value));
      if (!list && ItemsOf(value).size() == 1) out.Append(',');
      out.Append(list ? ']' : ')');
      break;
    }
    case Kind::kDict: {
      const Budget::Nested nested(out.budget());
      AppendDict(out, value.as<DictObject>().map);
      break;
    }
    case Kind::kNamespace: {
      const Budget::Nested nested(out.budget());  // ends the repr of a namespace that holds itself
      out.Append("<Namespace ");
      AppendDict(out, value.as<NamespaceObject>().map);
      out.Append('>');
      break;
    }
    case Kind::kRange: AppendRange(out, value.as<RangeObject>()); break;
    case Kind::kView: {
      const Budget::Nested nested(out.budget());
      AppendView(out, value.as<ViewObject>());
      break;
    }
    case Kind::kMacro: {
      const std::string& name = value.as<MacroObject>().body.name;
      out.Append("<Macro ");
      if (name.empty()) {
        out.Append("anonymous");
      } else {
        AppendQuoted(out, name);
      }
      out.Append('>');
      break;
    }
    case Kind::kLoop: {
      auto& loop = value.as<LoopObject>();
      out.Append("<LoopContext " + std::to_string(loop.index0 + 1) + "/" + std::to_string(loop.Length()) + ">");
      break;
    }
    case Kind::kIterator:
    case Kind::kMethod:
    case Kind::kCycler:
    case Kind::kJoiner: out.Append("<" + std::string(TypeName(value)) + " object>"); break;
  }
}

std::string Str(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  AppendStr(out, value);
  return out.Take();
}

std::string Repr(Budget& budget, const Value& value) {
  TextBuilder out(budget);
  AppendRepr(out, value);
  return out.Take();
}

void AppendQuoted(TextBuilder& out, std::string_view text, bool ascii) {
  const bool double_quotes = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  out.budget().Characters(text.size());
  out.Append(quote);
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out.Append('\\');
      out.Append(static_cast<char>(c));
    } else if (c == '\n') {
      out.Append("\\n");
    } else if (c == '\r') {
      out.Append("\\r");
    } else if (c == '\t') {
      out.Append("\\t");
    } else if ((ascii && c >= 0x7F) || !IsPrintable(c)) {
      std::string escape;
      AppendEscape(&escape, c);
      out.Append(escape);
    } else {
      out.Append(text.substr(begin, pos - begin));
    }
  }
  out.Append(quote);
}

Value SoftStr(Heap& heap, const Value& value) {
  return value.is_string() ? value : MakeString(heap, Str(heap.budget(), value));
}

std::string EscapeHtml(Budget& budget, std::string_view text) {
  TextBuilder out(budget);
  budget.Characters(text.size());
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string_view entity;
    switch (text[i]) {
      case '&': entity = "&amp;"; break;
      case '<': entity = "&lt;"; break;
      case '>': entity = "&gt;"; break;
      case '\'': entity = "&#39;"; break;
      case '"': entity = "&#34;"; break;
      default: continue;
    }
    out.Append(text.substr(copied, i - copied));
    out.Append(entity);
    copied = i + 1;
  }
  out.Append(text.substr(copied));
  return out.Take();
}

Value Escape(Heap& heap, const Value& value) {
  if (IsMarkup(value)) return value;
  const Value text = SoftStr(heap, value);
  return MakeString(heap, EscapeHtml(heap.budget(), TextOf(text)), true);
}

}  // namespace quorum::tok::jinja

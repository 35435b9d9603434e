#include "server/tool_grammar.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/grammar/free_text.h"
#include "engine/grammar/json_text.h"
#include "server/parameter_grammar.h"

namespace quorum::server {
namespace {

using grammar::ExprId;
using grammar::Trigger;

bool IsStrict(const Json& tool) { return tool["function"].value("strict", Json(false)) == true; }

class Builder {
 public:
  Builder(const ServedModel& model, const ToolUse& use)
      : model_(model),
        source_(model.chat_template == nullptr ? std::string() : model.chat_template->source()),
        use_(use),
        json_(made_.grammar, grammar::JsonSpace::kBounded) {
    if (model.tool_template != nullptr) source_ += model.tool_template->source();
  }

  Result<GrammarCache::Made> Build(const OutputFormat& format) {
    if (use_.may_call()) QUORUM_TRY(AddCalls());
    ExprId root = -1;
    if (use_.forced()) {
      root = Demanded();
    } else if (format.kind == OutputFormat::Kind::kText) {
      root = Free();
    } else {
      QUORUM_ASSIGN(root, AddOutputFormat(format, g_, made_.ignored));
      if (model_.tool_format == ToolFormat::kHarmony) root = InFinalChannel(root);
      if (use_.may_call()) root = g_.Choice({Demanded(), root});
    }
    g_.SetRoot(format.thinking ? grammar::AfterThinking(g_, *format.thinking, root) : root);
    if (g_.overflowed()) return grammar::Grammar::TooLarge();
    return std::move(made_);
  }

 private:
  std::optional<tok::TokenId> ControlToken(std::string_view text) const {
    const auto token = model_.tokenizer->FindToken(text);
    return token.has_value() && model_.tokenizer->IsControl(*token) ? token : std::nullopt;
  }
  /// A mark of the format: the control token of that name where the vocabulary has one, else its text.
  ExprId Mark(std::string_view text) {
    const auto token = ControlToken(text);
    return token.has_value() ? g_.Token(*token) : g_.Literal(text);
  }
  ExprId Text(std::string_view text) { return g_.Literal(text); }
  /// Nothing where a line's end ends the reply (a model of lines).
  ExprId LineEnd() {
    const auto ids = model_.tokenizer->Encode("\n", {});
    const bool ends = ids.ok() && std::any_of(ids->begin(), ids->end(), [this](tok::TokenId id) {
                        return model_.tokenizer->IsEndOfGeneration(id);
                      });
    return ends ? g_.Empty() : Text("\n");
  }
  bool Shows(std::string_view text) const { return source_.find(text) != std::string::npos; }
  /// The first of these that the template shows, else the first.
  std::string_view Shown(const std::vector<std::string_view>& marks) const {
    const auto shown = std::find_if(marks.begin(), marks.end(), [this](std::string_view mark) { return Shows(mark); });
    return shown == marks.end() ? marks.front() : *shown;
  }

  // One expression for each tool: what its call is, without the mark before it.
  Status AddCalls() {
    std::vector<ExprId> calls, bare;
    for (const Json& tool : use_.callable) {
      QUORUM_ASSIGN(const ExprId arguments, Arguments(tool));
      const auto name = tool["function"]["name"].get<std::string>();
      QUORUM_ASSIGN(const ExprId call, Call(name, arguments));
      calls.push_back(call);
      if (model_.tool_format == ToolFormat::kQwenXml || model_.tool_format == ToolFormat::kLlama3) {
        bare.push_back(BareCall(name, arguments));
      }
    }
    call_ = g_.Share("call", g_.Choice(std::move(calls)));
    if (!bare.empty()) bare_ = g_.Share("bare call", g_.Choice(std::move(bare)));
    return {};
  }

  Result<ExprId> Arguments(const Json& tool) {
    const Json parameters = tool["function"].value("parameters", Json());
    const bool xml = model_.tool_format == ToolFormat::kQwenXml;
    std::set<std::string> unknown;
    auto exact = xml ? XmlArguments(parameters, true, json_, unknown) : JsonArguments(parameters, json_, unknown);
    if (exact.ok()) {
      NameUnknownFormats("tools[].function.parameters", unknown, made_.ignored);
      return exact;
    }
    if (IsStrict(tool)) {
      return InvalidArgument(fmt::format("the parameters of the strict tool '{}' cannot be followed: {}",
                                         tool["function"]["name"].get<std::string>(), exact.error().message),
                             "tools");
    }
    made_.ignored.emplace_back("tools[].function.parameters");
    return xml ? XmlArguments(parameters, false, json_, unknown) : json_.Object();
  }

  Result<ExprId> Call(const std::string& name, ExprId arguments) {
    switch (model_.tool_format) {
      case ToolFormat::kHermes:
        return g_.Sequence({LineEnd(), Object(name, "arguments", arguments), LineEnd(), Mark("</tool_call>")});
      case ToolFormat::kQwenXml:
        return g_.Sequence({Text("\n<function="), BareCall(name, arguments), Text("\n"), Mark("</tool_call>")});
      case ToolFormat::kMistral:
        return Shows("[ARGS]") ? g_.Sequence({Text(name), Mark("[ARGS]"), arguments})
                               : Object(name, "arguments", arguments);
      case ToolFormat::kLlama3: return Object(name, "parameters", arguments);
      case ToolFormat::kDeepSeek:
        return Shows("```json") ? g_.Sequence({Text("function"), Mark(kSep), Text(name + "\n```json\n"), arguments,
                                               Text("\n```"), Mark(kCallEnd)})
                                : g_.Sequence({Text(name), Mark(kSep), arguments, Mark(kCallEnd)});
      case ToolFormat::kGranite:
      case ToolFormat::kPhi: return Object(name, "arguments", arguments);
      case ToolFormat::kHarmony:
        return g_.Sequence({Text("commentary to=functions." + name + " "), Mark("<|constrain|>"), Text("json"),
                            Mark("<|message|>"), arguments});
      case ToolFormat::kNone: break;
    }
    return Error{
        ErrorCode::kUnsupported,
        "how this model writes calls of tools is not known (--tool-parser names it), so that none can be demanded",
        "tool_choice", "unsupported_parameter"};
  }

  // What stands behind "<function=" (Qwen3-Coder, Llama 3.1).
  ExprId BareCall(const std::string& name, ExprId arguments) {
    const char* behind = model_.tool_format == ToolFormat::kQwenXml ? ">\n" : ">";
    return g_.Sequence({Text(name + behind), arguments, Text("</function>")});
  }

  ExprId Object(const std::string& name, const char* key, ExprId arguments) {
    // Llama's call is the whole reply: what makes it one, the bracket, is written where it may begin.
    const char* bracket = model_.tool_format == ToolFormat::kLlama3 ? "" : "{";
    return g_.Sequence({Text(fmt::format("{}\"name\": \"{}\", \"{}\": ", bracket, grammar::JsonEscape(name), key)),
                        arguments, Text("}")});
  }

  /// `call`, and more behind `separator` where there may be several.
  ExprId Calls(ExprId call, ExprId separator) {
    if (!use_.parallel) return call;
    return g_.Sequence({call, g_.Repeat(g_.Sequence({separator, call}), 0, grammar::kUnbounded)});
  }
  ExprId List() { return g_.Sequence({Text("["), Calls(call_, Text(", ")), Text("]")}); }
  ExprId LlamaCalls() { return Calls(call_, Text("; {")); }
  ExprId DeepSeekCalls() {
    return Calls(g_.Sequence({Mark(kCallBegin), call_}), Shows("```json") ? Text("\n") : g_.Empty());
  }
  bool NamedMistral() const { return Shows("[ARGS]"); }
  ExprId PhiEnd(std::string_view mark) { return mark == "functools" ? g_.Empty() : Mark("<|/tool_call|>"); }

  // The whole of a reply that must call.
  ExprId Demanded() {
    switch (model_.tool_format) {
      case ToolFormat::kHermes:
      case ToolFormat::kQwenXml: return Calls(g_.Sequence({Mark("<tool_call>"), call_}), LineEnd());
      case ToolFormat::kMistral:
        return NamedMistral() ? Calls(g_.Sequence({Mark("[TOOL_CALLS]"), call_}), g_.Empty())
                              : g_.Sequence({Mark("[TOOL_CALLS]"), List()});
      case ToolFormat::kLlama3: return g_.Sequence({Text("{"), LlamaCalls()});
      case ToolFormat::kDeepSeek: return g_.Sequence({Mark(kAllBegin), DeepSeekCalls(), Mark(kAllEnd)});
      case ToolFormat::kGranite: return g_.Sequence({Mark(Shown(kGraniteMarks)), List()});
      case ToolFormat::kPhi: {
        const std::string_view mark = Shown(kPhiMarks);
        return g_.Sequence({Mark(mark), List(), PhiEnd(mark)});
      }
      case ToolFormat::kHarmony: {
        const ExprId call = g_.Sequence({Mark("<|channel|>"), call_});
        const ExprId then = g_.Sequence({Mark("<|start|>"), Text("assistant"), call});
        return g_.Choice({call, g_.Sequence({Channel("analysis"), UpTo("<|end|>", then)})});
      }
      case ToolFormat::kNone: break;
    }
    return call_;
  }

  // Any text; what a reader would take for a call is one of an offered tool, to its end.
  ExprId Free() {
    const bool more = use_.parallel;
    std::vector<Trigger> triggers;
    const auto on = [&](std::string_view mark, ExprId then, bool resume) {
      for (Trigger& trigger : TriggersOn(mark, then, resume)) triggers.push_back(std::move(trigger));
    };
    switch (model_.tool_format) {
      case ToolFormat::kHermes: on("<tool_call>", call_, more); break;
      case ToolFormat::kQwenXml:
        on("<tool_call>", call_, more);
        on("<function=", bare_, more);
        break;
      case ToolFormat::kMistral: on("[TOOL_CALLS]", NamedMistral() ? call_ : List(), more && NamedMistral()); break;
      case ToolFormat::kLlama3:
        triggers.push_back({"{", {}, LlamaCalls(), false, true});
        on("<|python_tag|>", g_.Sequence({Text("{"), LlamaCalls()}), false);
        on("<function=", bare_, more);
        break;
      case ToolFormat::kDeepSeek: {
        on(kAllBegin, g_.Sequence({DeepSeekCalls(), Mark(kAllEnd)}), false);
        on(kCallBegin, call_, false);
        break;
      }
      case ToolFormat::kGranite:
        for (const std::string_view mark : kGraniteMarks) on(mark, List(), false);
        break;
      case ToolFormat::kPhi:
        for (const std::string_view mark : kPhiMarks) on(mark, g_.Sequence({List(), PhiEnd(mark)}), false);
        break;
      case ToolFormat::kHarmony: return FreeChannels();
      case ToolFormat::kNone: break;
    }
    return grammar::FreeText(g_, triggers, true);
  }

  /// On the control token of that name, and on its text, which reads the same.
  std::vector<Trigger> TriggersOn(std::string_view mark, ExprId then, bool resume) const {
    std::vector<Trigger> triggers = {{std::string(mark), {}, then, resume}};
    if (const auto token = ControlToken(mark)) triggers.push_back({{}, *token, then, resume});
    return triggers;
  }

  ExprId Channel(std::string_view name) { return g_.Sequence({Mark("<|channel|>"), Text(name), Mark("<|message|>")}); }
  ExprId InFinalChannel(ExprId text) {
    const ExprId answer = g_.Sequence({Channel("final"), text});
    const ExprId then = g_.Sequence({Mark("<|start|>"), Text("assistant"), answer});
    return g_.Choice({answer, g_.Sequence({Channel("analysis"), UpTo("<|end|>", then)})});
  }
  // The text of a message up to `mark` and what follows it; other marks in it would begin another message.
  ExprId UpTo(std::string_view mark, ExprId then, bool may_end = false) {
    std::vector<Trigger> triggers = TriggersOn(mark, then, false);
    for (const char* other : {"<|start|>", "<|channel|>", "<|message|>"}) {
      triggers.push_back({other, {}, g_.Never(), false});
    }
    return grammar::FreeText(g_, triggers, may_end);
  }
  // Thoughts and answers in any order, and calls.
  ExprId FreeChannels() {
    const grammar::RuleId message = g_.NewRule("message");
    const ExprId next = g_.Sequence({Mark("<|start|>"), Text("assistant"), g_.Rule(message)});
    const ExprId call = g_.Sequence({Mark("<|channel|>"), call_});
    const ExprId calls = use_.parallel ? g_.Sequence({call, g_.Optional(g_.Sequence({Mark("<|end|>"), next}))}) : call;
    g_.Define(message, g_.Choice({g_.Sequence({Channel("analysis"), UpTo("<|end|>", next)}),
                                  g_.Sequence({Channel("commentary"), UpTo("<|end|>", next, true)}),
                                  g_.Sequence({Channel("final"), UpTo("<|end|>", next, true)}), calls}));
    return g_.Rule(message);
  }

  static constexpr std::string_view kAllBegin = "<｜tool▁calls▁begin｜>", kAllEnd = "<｜tool▁calls▁end｜>",
                                    kCallBegin = "<｜tool▁call▁begin｜>", kSep = "<｜tool▁sep｜>",
                                    kCallEnd = "<｜tool▁call▁end｜>";
  static inline const std::vector<std::string_view> kGraniteMarks = {"<|tool_call|>", "<tool_call>", "<function_call>"};
  static inline const std::vector<std::string_view> kPhiMarks = {"<|tool_call|>", "functools"};

  const ServedModel& model_;
  std::string source_;
  const ToolUse& use_;
  GrammarCache::Made made_;
  grammar::Grammar& g_ = made_.grammar;
  grammar::JsonText json_;
  ExprId call_ = -1;
  ExprId bare_ = -1;
};

}  // namespace

bool NeedsToolGrammar(const ServedModel& model, const ToolUse& use, const OutputFormat& format) {
  if (use.forced()) return true;
  // GBNF speaks of the whole reply; the other formats are of the answer, beside which there may be calls.
  const bool formatted = format.kind != OutputFormat::Kind::kText && format.kind != OutputFormat::Kind::kGbnf;
  if (model.tool_format == ToolFormat::kHarmony && formatted) return true;
  if (!use.may_call() || model.tool_format == ToolFormat::kNone) return false;
  return formatted || std::any_of(use.callable.begin(), use.callable.end(), IsStrict);
}

Result<GrammarCache::Made> ToolGrammar(const ServedModel& model, const ToolUse& use, const OutputFormat& format) {
  return Builder(model, use).Build(format);
}

std::string ToolGrammarKey(const ToolUse& use, const OutputFormat& format) {
  return fmt::format("tools {} {} {}\n{}", static_cast<int>(use.choice), use.parallel, KeyOf(format),
                     DumpJson(use.callable));
}

}  // namespace quorum::server

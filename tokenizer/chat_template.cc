#include "tokenizer/chat_template.h"

#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/eval.h"
#include "tokenizer/jinja/json.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok {
namespace {

using Json = nlohmann::ordered_json;
using Variables = std::vector<std::pair<std::string, jinja::Value>>;

// Published templates have up to 30 KB.
constexpr std::size_t kMaxSource = std::size_t{1} << 20;
// Bytes of a complaint (raise_exception) that are told.
constexpr std::size_t kMaxComplaint = 1000;

Error TemplateError(const jinja::Failure& failure, int line) {
  const int where = failure.line > 0 ? failure.line : line;
  // A template may put whole messages into its complaint; the answer to a client stays short.
  std::string message = failure.message;
  if (message.size() > kMaxComplaint) {
    std::size_t end = kMaxComplaint;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0U) == 0x80U) --end;
    message.resize(end);
    message += "...";
  }
  return InvalidArgument("chat template, line " + std::to_string(where) + ": " + message);
}

// Clients and templates use several names for a message's reasoning. As transformers does, the first that is present
// becomes `reasoning_content` (what most templates read), and `thinking` where there is none (what gpt-oss's reads).
jinja::Value WithReasoningNames(jinja::Heap& heap, const jinja::Value& message) {
  if (!message.is(jinja::Kind::kDict)) return message;
  const jinja::DictMap& fields = message.as<jinja::DictObject>().map;
  for (const std::string_view name : {"reasoning_content", "thinking", "reasoning"}) {
    const jinja::Value* reasoning = fields.Find(heap.budget(), name);
    if (reasoning == nullptr || reasoning->is_none()) continue;
    const jinja::Ref<jinja::DictObject> named = heap.New<jinja::DictObject>();
    named->Set(jinja::MakeString(heap, "thinking"), *reasoning);
    for (const auto& [key, value] : fields.entries()) named->Set(key, value);
    named->Set(jinja::MakeString(heap, "reasoning_content"), *reasoning);
    return jinja::Value(jinja::Kind::kDict, named);
  }
  return message;
}

jinja::Value MessagesValue(jinja::Heap& heap, const Json& messages) {
  std::vector<jinja::Value> items;
  for (const Json& message : messages) {
    items.push_back(WithReasoningNames(heap, jinja::FromJson(heap, message)));
  }
  return jinja::MakeList(heap, std::move(items));
}

class ParsedTemplate final : public ChatTemplate {
 public:
  ParsedTemplate(std::string source, std::unique_ptr<const jinja::Program> program)
      : source_(std::move(source)), program_(std::move(program)) {}

  const std::string& source() const override { return source_; }

  Result<std::string> Render(const TemplateInput& input, const TemplateBudget& limits) const override {
    if (input.messages == nullptr || !input.messages->is_array()) {
      return InvalidArgument("a chat template needs an array of messages", "messages");
    }
    if (input.extra != nullptr && !input.extra->is_null() && !input.extra->is_object()) {
      return InvalidArgument("the template's further variables must be an object");
    }
    jinja::Budget budget(limits);
    jinja::Heap heap(budget);
    jinja::Interpreter interpreter(*program_, heap, input.now_unix);
    try {
      return interpreter.Run(MakeVariables(heap, input));
    } catch (const jinja::Failure& failure) {
      return TemplateError(failure, interpreter.line());
    } catch (const std::bad_alloc&) {
      return Error{ErrorCode::kInternal, "out of memory while rendering a chat template", {}, {}};
    }
  }

 private:
  static Variables MakeVariables(jinja::Heap& heap, const TemplateInput& input) {
    const auto json = [&](const Json* document) {
      return document == nullptr ? jinja::Value::None() : jinja::FromJson(heap, *document);
    };
    const auto text = [&](const std::string& value) { return jinja::FromJson(heap, Json(value)); };
    Variables variables;
    variables.emplace_back("messages", MessagesValue(heap, *input.messages));
    variables.emplace_back("tools", json(input.tools));
    variables.emplace_back("documents", jinja::Value::None());
    variables.emplace_back("add_generation_prompt", jinja::Value::Bool(input.add_generation_prompt));
    variables.emplace_back("bos_token", text(input.bos_token));
    variables.emplace_back("eos_token", text(input.eos_token));
    if (input.extra != nullptr && input.extra->is_object()) {
      for (const auto& [name, value] : input.extra->items()) {
        if (name == "messages" || name == "tools") {
          jinja::Fail("'" + name + "' cannot be given among the template's further variables");
        }
        variables.emplace_back(name, jinja::FromJson(heap, value));  // a later one wins
      }
    }
    return variables;
  }

  const std::string source_;
  const std::unique_ptr<const jinja::Program> program_;
};

}  // namespace

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::Parse(std::string_view source) {
  if (source.size() > kMaxSource) {
    return InvalidArgument("chat template: larger than " + std::to_string(kMaxSource) + " bytes");
  }
  if (!jinja::IsValidUtf8(source)) return InvalidArgument("chat template: not valid UTF-8");
  try {
    std::unique_ptr<const jinja::Program> program = jinja::ParseTemplate(source);
    return std::shared_ptr<const ChatTemplate>(
        std::make_shared<ParsedTemplate>(std::string(source), std::move(program)));
  } catch (const jinja::Failure& failure) {
    return TemplateError(failure, 1);
  }
}

}  // namespace quorum::tok

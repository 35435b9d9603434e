#include "engine/eval_task.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace quorum::engine {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostDepth = 32;

// The library parses recursively in its destructor: nesting is bounded first.
bool TooDeep(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMostDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// The first that is not empty.
std::string_view FirstLine(std::string_view text) {
  text = Trimmed(text);
  return Trimmed(text.substr(0, text.find('\n')));
}

Result<EvalTask> FromObject(const Json& object) {
  if (!object.is_object()) return InvalidArgument("expected an object");
  EvalTask task;
  const auto prompt = object.find("prompt");
  if (prompt == object.end() || !prompt->is_string()) return InvalidArgument("'prompt' is missing or no string");
  task.prompt = prompt->get<std::string>();
  if (const auto id = object.find("id"); id != object.end()) {
    if (!id->is_string() && !id->is_number_integer())
      return InvalidArgument("'id' is neither a string nor a whole number");
    task.id = id->is_string() ? id->get<std::string>() : id->dump();
  }
  if (const auto most = object.find("max_tokens"); most != object.end()) {
    if (!most->is_number_integer() || most->get<std::int64_t>() < 1 || most->get<std::int64_t>() > 4096)
      return InvalidArgument("'max_tokens' is not 1 to 4096");
    task.max_tokens = most->get<std::int32_t>();
  }
  const auto answer = object.find("answer");
  if (answer == object.end()) return InvalidArgument("'answer' is missing");
  const auto choices = object.find("choices");
  if (choices == object.end()) {
    if (!answer->is_string()) return InvalidArgument("'answer' is no string, and there are no 'choices'");
    task.text = answer->get<std::string>();
    const std::string_view line = FirstLine(task.text);
    if (line.empty()) return InvalidArgument("'answer' is empty");
    if (line != Trimmed(task.text)) {
      return InvalidArgument("'answer' has more than one line, and a single one is compared");
    }
    return task;
  }
  if (!choices->is_array() || choices->size() < 2 || choices->size() > 1000) {
    return InvalidArgument("'choices' is no list of 2 to 1000 strings");
  }
  for (const Json& choice : *choices) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      return InvalidArgument("'choices' has something that is no string or empty");
    }
    task.choices.push_back(choice.get<std::string>());
  }
  if (!answer->is_number_integer() || answer->get<std::int64_t>() < 0 ||
      answer->get<std::int64_t>() >= static_cast<std::int64_t>(choices->size())) {
    return InvalidArgument("'answer' is not the index of a choice, 0 to " + std::to_string(choices->size() - 1));
  }
  task.answer = answer->get<std::size_t>();
  return task;
}

}  // namespace

Result<std::vector<EvalTask>> ParseEvalTasks(std::string_view jsonl) {
  std::vector<EvalTask> tasks;
  for (std::size_t line = 1; !jsonl.empty(); ++line) {
    const std::size_t end = jsonl.find('\n');
    const std::string_view text = jsonl.substr(0, end);
    jsonl.remove_prefix(end == std::string_view::npos ? jsonl.size() : end + 1);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = "line " + std::to_string(line) + ": ";
    if (TooDeep(text)) return InvalidArgument(where + "nested too deeply");
    const Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (object.is_discarded()) return InvalidArgument(where + "is not JSON");
    auto task = FromObject(object);
    if (!task.ok()) return InvalidArgument(where + task.error().message);
    tasks.push_back(*std::move(task));
  }
  if (tasks.empty()) return InvalidArgument("has no tasks");
  return tasks;
}

bool MatchesAnswer(std::string_view generated, std::string_view answer) {
  return FirstLine(generated) == FirstLine(answer);
}

}  // namespace quorum::engine

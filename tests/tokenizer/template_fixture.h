// Access to tests/fixtures/templates, and short ways to render.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tokenizer/chat_template.h"

namespace quorum::tok {

using OrderedJson = nlohmann::ordered_json;

inline std::string TemplateFile(const std::string& name) {
  std::ifstream file(std::string(QUORUM_FIXTURES) + "/templates/" + name, std::ios::binary);
  REQUIRE(file.good());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline OrderedJson TemplateJson(const std::string& name) { return OrderedJson::parse(TemplateFile(name)); }

/// Renders `source` with no messages and these variables.
inline Result<std::string> RenderText(const std::string& source, const OrderedJson& variables = OrderedJson::object(),
                                      const TemplateBudget& budget = {}) {
  QUORUM_ASSIGN(const auto parsed, ChatTemplate::Parse(source));
  const OrderedJson messages = OrderedJson::array();
  TemplateInput input;
  input.messages = &messages;
  input.extra = &variables;
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  input.add_generation_prompt = false;
  input.now_unix = 1732276805;  // as in make_template_fixtures.py
  return parsed->Render(input, budget);
}

/// What `source` renders, or "error: " and why not.
inline std::string Outcome(const std::string& source, const OrderedJson& variables = OrderedJson::object(),
                           const TemplateBudget& budget = {}) {
  const Result<std::string> text = RenderText(source, variables, budget);
  return text.ok() ? *text : "error: " + text.error().message;
}

}  // namespace quorum::tok

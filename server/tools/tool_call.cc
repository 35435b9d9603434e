#include "server/tools/tool_call.h"

#include <iterator>

#include <nlohmann/json.hpp>

namespace quorum::server {

using Json = nlohmann::ordered_json;

void Append(MessageDelta& to, MessageDelta from) {
  to.content += from.content;
  to.reasoning += from.reasoning;
  to.calls.insert(to.calls.end(), std::make_move_iterator(from.calls.begin()),
                  std::make_move_iterator(from.calls.end()));
}

OfferedTools::OfferedTools(const Json& tools) : tools_(std::make_shared<const Json>(tools)) {}

const Json* OfferedTools::Find(std::string_view name) const {
  if (tools_ == nullptr) return nullptr;
  for (const Json& tool : *tools_) {
    const Json& function = tool.at("function");
    if (function.at("name").get_ref<const std::string&>() == name) return &function;
  }
  return nullptr;
}

bool OfferedTools::Has(std::string_view name) const { return Find(name) != nullptr; }

bool OfferedTools::HasBeginning(std::string_view begin) const {
  if (tools_ == nullptr) return false;
  for (const Json& tool : *tools_) {
    if (tool.at("function").at("name").get_ref<const std::string&>().starts_with(begin)) return true;
  }
  return false;
}

ArgumentTypes OfferedTools::TypesOfArgument(std::string_view tool, std::string_view argument) const {
  const Json* function = Find(tool);
  const auto parameters = function == nullptr ? Json::const_iterator() : function->find("parameters");
  if (function == nullptr || parameters == function->end() || !parameters->is_object()) return {};
  const auto properties = parameters->find("properties");
  if (properties == parameters->end() || !properties->is_object()) return {};
  const auto schema = properties->find(argument);
  return schema == properties->end() ? ArgumentTypes() : TypesOf(*parameters, *schema);
}

}  // namespace quorum::server

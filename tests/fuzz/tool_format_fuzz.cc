// Replies on any bytes, in every format of tool calls, cut in any way: nothing crashes, calls that come out are whole
// JSON objects of offered tools, and the cuts do not show.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/check.h"
#include "server/tools/message_reader.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::server {
namespace {

struct Message {
  std::string content, reasoning;
  std::vector<std::string> names, arguments;
  bool broken = false;
};

OfferedTools Tools() {
  return OfferedTools(nlohmann::ordered_json::parse(
      R"([{"type":"function","function":{"name":"f","parameters":{"properties":{"n":{"type":"integer"}}}}},
          {"type":"function","function":{"name":"python"}}])"));
}

Message Read(const MessageRules& rules, std::string_view text, std::string_view cuts, bool cut) {
  const auto reader = MakeMessageReader(rules);
  Message message;
  const auto take = [&](const MessageDelta& delta) {
    message.content += delta.content;
    message.reasoning += delta.reasoning;
    for (const CallDelta& call : delta.calls) {
      const auto index = static_cast<std::size_t>(call.index);
      QUORUM_CHECK(index <= message.names.size() && index + 1 >= message.names.size());
      QUORUM_CHECK((index == message.names.size()) == !call.name.empty());
      if (!call.name.empty()) {
        message.names.push_back(call.name);
        message.arguments.emplace_back();
      }
      message.arguments[index] += call.arguments;
    }
  };
  std::size_t at = 0;
  for (std::size_t i = 0; at < text.size(); ++i) {
    const std::size_t size = cuts.empty() ? text.size() : 1 + static_cast<unsigned char>(cuts[i % cuts.size()]) % 9;
    take(reader->Push(text.substr(at, size)));
    at += size;
  }
  take(reader->Finish(cut));
  message.broken = reader->broken();
  if (!message.broken && !cut) {
    for (std::size_t i = 0; i < message.names.size(); ++i) {
      QUORUM_CHECK(rules.tools.Has(message.names[i]));
      QUORUM_CHECK(nlohmann::json::parse(message.arguments[i], nullptr, false).is_object());
    }
  }
  return message;
}

void Fuzz(std::string_view data) {
  if (data.size() < 4) return;
  const auto format = static_cast<ToolFormat>(static_cast<unsigned char>(data[0]) % 9);
  const bool cut = (data[1] & 1) != 0;
  const std::string_view cuts = data.substr(2, 2);
  const std::string text = tok::SanitizeUtf8(data.substr(4));  // the engine lets out nothing else
  MessageRules rules{format, Tools(), true, (data[1] & 2) != 0, std::string::npos, (data[1] & 4) != 0};
  const Message whole = Read(rules, text, {}, cut);
  const Message pieces = Read(rules, text, cuts, cut);
  QUORUM_CHECK(whole.content == pieces.content && whole.reasoning == pieces.reasoning);
  QUORUM_CHECK(whole.names == pieces.names && whole.arguments == pieces.arguments);
  rules.hold_bytes = 0;
  Read(rules, text, cuts, cut);  // what is let out at once may differ, but its whole calls are whole
}

}  // namespace
}  // namespace quorum::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quorum::server::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}

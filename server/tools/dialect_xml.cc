// Qwen3-Coder's calls: <tool_call><function=NAME><parameter=KEY>\nVALUE\n</parameter>...</function></tool_call>.
#include <utility>

#include <nlohmann/json.hpp>

#include "server/tools/dialect.h"
#include "server/tools/json_cursor.h"

namespace quorum::server {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

class XmlDialect final : public Dialect {
 public:
  explicit XmlDialect(OfferedTools tools) : tools_(std::move(tools)) {}

  // The model sometimes leaves the outer mark out.
  Mark Find(std::string_view text, bool, bool ended) const override {
    return FindMark(text, {kOuter, kFunction}, ended);
  }

  Reading Read(std::string_view text, bool ended) override {
    const Reading reading = ReadRegion(text, ended);
    if (reading.verdict == Verdict::kMore && ended) return {Verdict::kText, text.size()};
    return reading;
  }

  void Reset() override {
    Dialect::Reset();
    at_ = 0;
  }

 private:
  Reading ReadRegion(std::string_view text, bool ended) {
    const bool outer = text.starts_with(kOuter);
    const Reading not_a_call = {Verdict::kText, outer ? kOuter.size() : kFunction.size()};
    if (at_ == 0) {
      const std::size_t begin = outer ? SkipSpace(text, kOuter.size()) : 0;
      const Begins begins = BeginsWith(text.substr(begin), kFunction);
      if (begins != Begins::kYes) return begins == Begins::kMaybe ? Reading{} : not_a_call;
      const std::size_t name_at = begin + kFunction.size();
      const std::size_t close = text.find('>', name_at);
      if (close == std::string_view::npos) return tools_.HasBeginning(text.substr(name_at)) ? Reading{} : not_a_call;
      const std::string_view name = text.substr(name_at, close - name_at);
      if (!tools_.Has(name)) return not_a_call;
      calls_ = {{std::string(name), "{", false}};
      at_ = read_ = close + 1;
    }
    for (;;) {
      const std::size_t next = SkipSpace(text, at_);
      const std::string_view rest = text.substr(next);
      if (rest.starts_with(kFunctionEnd)) return End(text, next + kFunctionEnd.size(), outer, ended);
      if (!rest.starts_with(kParameter)) {
        const bool maybe =
            BeginsWith(rest, kFunctionEnd) == Begins::kMaybe || BeginsWith(rest, kParameter) == Begins::kMaybe;
        return maybe ? Reading{} : not_a_call;
      }
      const std::size_t close = rest.find('>');
      const std::size_t end = rest.find(kParameterEnd);
      if (close == std::string_view::npos || end == std::string_view::npos || end < close) {
        return close != std::string_view::npos && end < close ? not_a_call : Reading{};
      }
      AddArgument(rest.substr(kParameter.size(), close - kParameter.size()), rest.substr(close + 1, end - close - 1));
      at_ = read_ = next + end + kParameterEnd.size();
    }
  }

  // The arguments grow by whole members, so that what is out stays true.
  void AddArgument(std::string_view key, std::string_view value) {
    if (value.starts_with('\n')) value.remove_prefix(1);
    if (value.ends_with('\n')) value.remove_suffix(1);
    ToolCall& call = calls_.front();
    Json typed = std::string(value);
    const ArgumentTypes types = tools_.TypesOfArgument(call.name, key);
    if (types.known() ? !types.only_string() : LooksStructured(value)) {
      const std::string_view word = value == "True"    ? "true"
                                    : value == "False" ? "false"
                                    : value == "None"  ? "null"
                                                       : value;
      Json parsed = NestsDeeply(word) ? Json(Json::value_t::discarded) : Json::parse(word, nullptr, false);
      // Where it may be a string too, only what it may be as well is something else.
      const bool fits = !types.has(ArgumentTypes::kString) || types.Allow(parsed);
      if (!parsed.is_discarded() && fits) typed = std::move(parsed);
    }
    if (call.arguments.size() > 1) call.arguments += ", ";
    call.arguments += Dump(std::string(key)) + ": " + Dump(typed);
  }

  static bool LooksStructured(std::string_view value) { return value.starts_with('{') || value.starts_with('['); }

  Reading End(std::string_view text, std::size_t end, bool outer, bool ended) {
    if (outer) {
      const std::size_t next = SkipSpace(text, end);
      const Begins begins = BeginsWith(text.substr(next), kOuterEnd);
      if (begins == Begins::kMaybe && !ended) return {};
      if (begins == Begins::kYes) end = next + kOuterEnd.size();
    }
    calls_.front().arguments += "}";
    calls_.front().complete = true;
    return {Verdict::kCalls, end};
  }

  static inline const std::string kOuter = "<tool_call>";
  static inline const std::string kFunction = "<function=";
  static constexpr std::string_view kOuterEnd = "</tool_call>";
  static constexpr std::string_view kFunctionEnd = "</function>";
  static constexpr std::string_view kParameter = "<parameter=";
  static constexpr std::string_view kParameterEnd = "</parameter>";
  const OfferedTools tools_;
  std::size_t at_ = 0;  // where the next parameter is looked for; 0: the name has not been read
};

}  // namespace

std::unique_ptr<Dialect> MakeXmlDialect(const OfferedTools& tools) { return std::make_unique<XmlDialect>(tools); }

}  // namespace quorum::server

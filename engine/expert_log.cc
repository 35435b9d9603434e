#include "engine/expert_log.h"

#include <algorithm>
#include <cmath>
#include <istream>
#include <iterator>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/model_spec.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxLayers = 4096;
constexpr std::size_t kMaxTopics = 65536;
// What sums over a log may take: pairs of experts in each layer, and each topic's counts.
constexpr std::int64_t kMaxCells = std::int64_t{1} << 28;

/// The shortest digits that read back as `x`.
void PutNumber(float x, std::string& line) {
  if (std::isfinite(x)) {
    fmt::format_to(std::back_inserter(line), "{}", x);
  } else {
    line += "null";
  }
}

/// ,"key":[[...],...]: a list for each layer.
template <typename T, typename Put>
void PutLists(std::string_view key, const RoutedToken& token, std::span<const T> ExpertTrace::Visits::* list, Put put,
              std::string& line) {
  line += key;
  for (std::size_t i = 0; i < token.layers.size(); ++i) {
    line += i == 0 ? "[" : ",[";
    bool first = true;
    for (const T value : token.layers[i].*list) {
      if (!std::exchange(first, false)) line += ',';
      put(value, line);
    }
    line += ']';
  }
  line += ']';
}

/// Depth of what a log may hold: an object of arrays of arrays.
bool TooDeep(std::string_view line) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > 3) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// A number, or `absent` for null. False: something else.
bool ReadNumber(const Json& value, float absent, float& out) {
  out = absent;
  if (value.is_null()) return true;
  if (!value.is_number()) return false;
  out = static_cast<float>(value.get<double>());
  return true;
}

bool ReadId(const Json& value, std::int64_t end, std::int32_t& out) {
  if (!value.is_number_integer()) return false;
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id >= end) return false;
  out = static_cast<std::int32_t>(id);
  return true;
}

/// Why a line is no head; empty: it is one.
std::string ReadHead(const Json& line, ExpertLogHead& head) {
  if (!line.is_object() || !line.contains("quorum_expert_log")) return "is not the head of an expert log";
  if (line["quorum_expert_log"] != 1) return "is of an unknown version";
  if (!line.contains("model") || !line["model"].is_string()) return "has no \"model\"";
  head.model = line["model"].get<std::string>();
  const auto experts = line.find("experts");
  if (experts == line.end() || !experts->is_array() || experts->empty() || experts->size() > kMaxLayers) {
    return "has no \"experts\" by layer";
  }
  for (const Json& count : *experts) {
    if (!ReadId(count, kMaxExperts + 1, head.shape.experts.emplace_back()))
      return "has impossible numbers of \"experts\"";
  }
  if (!line.contains("top_k") || !ReadId(line["top_k"], kMaxExperts + 1, head.shape.top_k)) return "has no \"top_k\"";
  const auto topics = line.find("topics");
  if (topics == line.end() || !topics->is_array() || topics->empty() || topics->size() > kMaxTopics) {
    return "has no \"topics\"";
  }
  for (const Json& topic : *topics) {
    if (!topic.is_string()) return "has \"topics\" that are no names";
    head.topics.push_back(topic.get<std::string>());
  }
  if (const auto share = line.find("share"); share != line.end()) {
    if (!share->is_number() || !(share->get<double>() > 0 && share->get<double>() <= 1)) {
      return "has a \"share\" that is not above 0 and at most 1";
    }
    head.share = share->get<double>();
  }
  const std::int64_t cells = std::ssize(head.shape.experts) * head.shape.most();
  if (cells * (head.shape.most() + std::ssize(head.topics)) > kMaxCells) return "names too many experts and topics";
  return {};
}

/// The arrays that a token's visits point into.
struct TokenRoom {
  std::vector<std::vector<std::int32_t>> experts;
  std::vector<std::vector<float>> weights, norms;
};

/// `line[key]` as an array of one entry a layer, or null.
const Json* ByLayer(const Json& line, const char* key, std::size_t layers) {
  const auto found = line.find(key);
  return found != line.end() && found->is_array() && found->size() == layers ? &*found : nullptr;
}

bool ReadNumbers(const Json& values, std::size_t count, std::vector<float>& out) {
  out.clear();
  if (!values.is_array() || values.size() != count) return false;
  for (const Json& value : values) {
    if (!ReadNumber(value, 0, out.emplace_back())) return false;
  }
  return true;
}

std::string ReadToken(const Json& line, const ExpertLogHead& head, TokenRoom& room, RoutedToken& token,
                      std::string& text) {
  if (!line.is_object()) return "is no object";
  token.token = kNoToken;
  if (line.contains("t") && !ReadId(line["t"], std::numeric_limits<std::int32_t>::max(), token.token)) {
    return "has a token \"t\" that is no id";
  }
  token.topic = 0;
  if (line.contains("topic") && !ReadId(line["topic"], std::ssize(head.topics), token.topic)) {
    return "has a \"topic\" that the head does not name";
  }
  text = line.contains("s") && line["s"].is_string() ? line["s"].get<std::string>() : std::string();
  if (!ReadNumber(line.value("loss", Json()), std::numeric_limits<float>::quiet_NaN(), token.loss)) {
    return "has a \"loss\" that is no number";
  }
  const std::size_t layers = head.shape.experts.size();
  const Json* experts = ByLayer(line, "e", layers);
  const Json* weights = ByLayer(line, "w", layers);
  const Json* margins = ByLayer(line, "m", layers);
  const Json* norms = line.contains("n") ? ByLayer(line, "n", layers) : nullptr;
  if (experts == nullptr || weights == nullptr || margins == nullptr || (line.contains("n") && norms == nullptr)) {
    return fmt::format("lacks \"e\", \"w\" or \"m\" of {} layers", layers);
  }
  room.experts.resize(layers);
  room.weights.resize(layers);
  room.norms.resize(layers);
  token.layers.resize(layers);
  for (std::size_t i = 0; i < layers; ++i) {
    std::vector<std::int32_t>& ids = room.experts[i];
    ids.clear();
    if (!(*experts)[i].is_array()) return "has \"e\" that is no list";
    for (const Json& id : (*experts)[i]) {
      if (!ReadId(id, head.shape.experts[i], ids.emplace_back()) ||
          (ids.size() > 1 && ids[ids.size() - 2] >= ids.back())) {
        return fmt::format("names impossible experts in layer {}", i);
      }
    }
    room.norms[i].clear();
    if (!ReadNumbers((*weights)[i], ids.size(), room.weights[i]) ||
        (norms != nullptr && !ReadNumbers((*norms)[i], ids.size(), room.norms[i]))) {
      return fmt::format("has not one weight and length for each expert of layer {}", i);
    }
    token.layers[i] = {ids, room.weights[i], room.norms[i]};
    if (!ReadNumber((*margins)[i], std::numeric_limits<float>::infinity(), token.layers[i].margin)) {
      return "has \"m\" that is no number";
    }
  }
  return {};
}

}  // namespace

std::string ExpertLogLine(const ExpertLogHead& head) {
  Json line = {{"quorum_expert_log", 1},
               {"model", tok::SanitizeUtf8(head.model)},
               {"top_k", head.shape.top_k},
               {"experts", head.shape.experts},
               {"topics", head.topics}};
  if (head.share != 1) line["share"] = head.share;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// By hand: a server writes many of them.
std::string ExpertLogLine(const RoutedToken& token, std::string_view text) {
  std::string line = "{";
  if (token.token != kNoToken) {
    fmt::format_to(std::back_inserter(line), "\"t\":{},\"s\":{},", token.token, Json(tok::SanitizeUtf8(text)).dump());
  }
  fmt::format_to(std::back_inserter(line), "\"topic\":{},\"loss\":", token.topic);
  PutNumber(token.loss, line);
  const auto put_id = [](std::int32_t id, std::string& out) { fmt::format_to(std::back_inserter(out), "{}", id); };
  PutLists(",\"e\":[", token, &ExpertTrace::Visits::experts, put_id, line);
  PutLists(",\"w\":[", token, &ExpertTrace::Visits::weights, PutNumber, line);
  const bool norms = std::any_of(token.layers.begin(), token.layers.end(),
                                 [](const ExpertTrace::Visits& visits) { return !visits.norms.empty(); });
  if (norms) PutLists(",\"n\":[", token, &ExpertTrace::Visits::norms, PutNumber, line);
  line += ",\"m\":[";
  for (std::size_t i = 0; i < token.layers.size(); ++i) {
    if (i > 0) line += ',';
    PutNumber(token.layers[i].margin, line);
  }
  return line += "]}\n";
}

Status ReadExpertLog(std::istream& in, const std::string& name,
                     const std::function<Status(const ExpertLogHead&)>& begin,
                     const std::function<Status(const RoutedToken&, const std::string& text)>& each) {
  ExpertLogHead head;
  RoutedToken token;
  TokenRoom room;
  std::string line, text;
  bool started = false;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    const auto fault = [&](const std::string& what) {
      return InvalidArgument(fmt::format("{}: line {} {}", name, number, what));
    };
    if (TooDeep(line)) return fault("is nested too deeply");
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) return fault("is no JSON");
    if (!started) {
      if (const std::string what = ReadHead(json, head); !what.empty()) return fault(what);
      QUORUM_TRY(begin(head));
      started = true;
      continue;
    }
    if (const std::string what = ReadToken(json, head, room, token, text); !what.empty()) return fault(what);
    QUORUM_TRY(each(token, text));
  }
  if (in.bad()) return DataLoss(name + ": cannot be read to its end");
  if (!started) return InvalidArgument(name + ": is empty, not an expert log");
  return {};
}

}  // namespace quorum::engine

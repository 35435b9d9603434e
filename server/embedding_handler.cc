#include "server/embedding_handler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <utility>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "server/completion_request.h"
#include "server/error_body.h"
#include "server/prompt_builder.h"

namespace quorum::server {
namespace {

constexpr std::size_t kMaxInputs = 2048;  // OpenAI's
constexpr std::size_t kInFlight = 16;     // inputs of one request that wait or run at once

struct EmbeddingRequest {
  std::vector<std::vector<tok::TokenId>> inputs;
  engine::Pooling pooling = engine::Pooling::kMean;
  std::size_t dimensions = 0;  // 0: all
  bool base64 = false;
  std::vector<std::string> ignored;
};

Result<EmbeddingRequest> Read(const ServedModel& model, std::string_view text) {
  QUORUM_ASSIGN(const Json body, ParseBody(text));
  JsonFields fields(body);
  EmbeddingRequest out;
  std::vector<Prompt> prompts;
  QUORUM_TRY(ReadPrompts(fields, "input", kMaxInputs, prompts));
  for (const Prompt& prompt : prompts) {
    const bool empty = std::visit([](const auto& value) { return value.empty(); }, prompt);
    if (empty) return InvalidArgument("'input' must not be empty", "input");
    QUORUM_ASSIGN(auto ids, BuildPrompt(model, prompt, out.ignored, "input", false));
    out.inputs.push_back(std::move(ids));
  }
  QUORUM_ASSIGN(const auto format, fields.String("encoding_format"));
  if (format.has_value() && *format != "float" && *format != "base64") {
    return InvalidArgument("'encoding_format' must be \"float\" or \"base64\"", "encoding_format");
  }
  out.base64 = format == "base64";
  QUORUM_ASSIGN(const auto dimensions, fields.Int("dimensions", 1, INT32_MAX));
  out.dimensions = static_cast<std::size_t>(dimensions.value_or(0));
  QUORUM_ASSIGN(const auto pooling, fields.String("pooling"));
  out.pooling = model.pooling;
  if (pooling == "mean") {
    out.pooling = engine::Pooling::kMean;
  } else if (pooling == "last") {
    out.pooling = engine::Pooling::kLast;
  } else if (pooling.has_value()) {
    return InvalidArgument("'pooling' must be \"mean\" or \"last\"", "pooling");
  }
  QUORUM_ASSIGN(const auto asked, fields.String("model"));
  for (auto& name : fields.Unread()) out.ignored.push_back(std::move(name));
  if (asked.has_value() && !asked->empty() && !model.Answers(*asked)) out.ignored.push_back("model");
  return out;
}

// Shortened to `dimensions` (Matryoshka models are trained for that) and scaled to length 1.
std::vector<float> Normalised(std::vector<float> values, std::size_t dimensions) {
  if (dimensions > 0) values.resize(dimensions);
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  const double scale = sum > 0 ? 1.0 / std::sqrt(sum) : 0.0;
  for (float& value : values) value = static_cast<float>(value * scale);
  return values;
}

/// One input after the other, some of them at once; results in order.
class EmbeddingRun {
 public:
  EmbeddingRun(const ApiContext& context, const EmbeddingRequest& request) : context_(context), request_(request) {}

  Result<std::vector<std::vector<float>>> Run(const std::function<bool()>& client_gone) {
    std::vector<std::vector<float>> vectors;
    while (vectors.size() < request_.inputs.size()) {
      QUORUM_TRY(Submit(vectors.size()));
      QUORUM_ASSIGN(std::vector<float> pooled, Wait(*running_.front(), client_gone));
      running_.pop_front();
      if (request_.dimensions > pooled.size()) {
        return InvalidArgument(fmt::format("'dimensions' must be at most {}", pooled.size()), "dimensions");
      }
      vectors.push_back(Normalised(std::move(pooled), request_.dimensions));
    }
    return vectors;
  }

 private:
  Status Submit(std::size_t done) {
    while (running_.size() < kInFlight && done + running_.size() < request_.inputs.size()) {
      engine::GenerationRequest submitted;
      submitted.prompt = request_.inputs[done + running_.size()];
      submitted.pooling = request_.pooling;
      auto generation = context_.model->engine->Submit(std::move(submitted));
      if (!generation.ok()) {
        // With some of ours inside, there will be room; with none, the client has to come again.
        if (generation.error().code == ErrorCode::kOverloaded && !running_.empty()) return {};
        Error error = generation.error();
        if (error.param == "prompt") error.param = "input";
        return error;
      }
      running_.push_back(std::move(*generation));
    }
    return {};
  }

  static Result<std::vector<float>> Wait(engine::Generation& generation, const std::function<bool()>& client_gone) {
    std::vector<float> pooled;
    while (!generation.done()) {
      auto event = generation.Next(std::chrono::milliseconds(20));
      if (!event.has_value()) {
        if (client_gone()) return Error{ErrorCode::kCancelled, "the client closed the connection", {}, {}};
        continue;
      }
      if (event->kind == engine::Event::Kind::kError) return event->error;
      if (event->kind == engine::Event::Kind::kPrompt) pooled = std::move(event->pooled);
      if (event->kind == engine::Event::Kind::kFinish && event->finish == engine::FinishReason::kCancelled) {
        return Error{ErrorCode::kUnavailable, "the server is shutting down", {}, {}};
      }
    }
    return pooled;
  }

  const ApiContext& context_;
  const EmbeddingRequest& request_;
  std::deque<std::shared_ptr<engine::Generation>> running_;
};

Result<Json> Embed(const ApiContext& context, HttpRequest& http, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(const EmbeddingRequest request, Read(*context.model, body));
  ignored = request.ignored;
  QUORUM_TRY(CheckStrict(context, ignored));
  QUORUM_ASSIGN(const auto vectors, EmbeddingRun(context, request).Run(http.client_gone));
  Json data = Json::array();
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    data.push_back({{"object", "embedding"},
                    {"index", i},
                    {"embedding", request.base64 ? Json(Base64Floats(vectors[i])) : Json(vectors[i])}});
    tokens += request.inputs[i].size();
  }
  context.scope->CountPrompt(static_cast<std::int64_t>(tokens), 0);
  return Json{{"object", "list"},
              {"data", std::move(data)},
              {"model", context.model->id},
              {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
}

}  // namespace

std::string Base64Floats(const std::vector<float>& values) {
  static_assert(std::endian::native == std::endian::little);
  const std::size_t bytes = values.size() * sizeof(float);
  std::string out(4 * ((bytes + 2) / 3) + 1, '\0');
  const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(values.data()), static_cast<int>(bytes));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

HttpResponse HandleEmbeddings(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  const auto answer = Embed(context, http, ignored);
  HttpResponse response = answer.ok() ? JsonResponse(*answer) : ApiError(context, answer.error());
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server

// Logits that are no numbers are found, with the layer where that begins.
#include "engine/finite_check.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/model.h"
#include "engine/text_run.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

/// The error of a text's losses on a tiny model whose `tensor` (F32) has `value` for its first number; "" for none.
std::string Fault(const std::string& tensor, float value) {
  const auto tiny = testing::MakeTinyModel(testing::TinyShape{});
  const quant::GgufTensor* found = tiny->file.FindTensor(tensor);
  REQUIRE(found != nullptr);
  REQUIRE(found->type == quant::DType::kF32);
  std::memcpy(tiny->bytes.data() + (found->data.data() - tiny->bytes.data()), &value, sizeof value);
  SetLogLevel(LogLevel::kOff);
  ThreadPool pool(2);
  LoadOptions options;
  options.pool = &pool;
  options.max_batch = 1;
  const auto model = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(model.ok());
  std::vector<tok::TokenId> tokens(100);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<tok::TokenId>(i % 20);
  const auto losses = TextLosses(**model, tokens, {.window = 64});
  return losses.ok() ? "" : losses.error().message;
}

TEST_CASE("Logits that are not finite are an error that names where it begins") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(Fault("blk.0.attn_norm.weight", 1.0F).empty());
  CHECK(Fault("blk.0.attn_norm.weight", nan).find("layer 0") != std::string::npos);
  CHECK(Fault("blk.1.ffn_norm.weight", nan).find("layer 1") != std::string::npos);
  CHECK(Fault("blk.1.ffn_norm.weight", infinity).find("layer 1") != std::string::npos);
  CHECK(Fault("output_norm.weight", nan).find("last norm") != std::string::npos);
  CHECK(Fault("output_norm.weight", nan).find("position 0") != std::string::npos);
}

}  // namespace
}  // namespace quorum::engine

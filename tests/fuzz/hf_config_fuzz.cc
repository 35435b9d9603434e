// config.json of any content: every family's reader gives a checked ModelSpec or an error that names the file. The
// weights beside it are empty, so that looking for tensors must fail too.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/hf_family.h"
#include "engine/hf_quantized.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace engine = quorum::engine;
  quorum::SetLogLevel(quorum::LogLevel::kOff);
  auto config = engine::HfConfig::Parse({reinterpret_cast<const char*>(data), size}, "fuzz/config.json");
  if (!config.ok()) {
    QUORUM_CHECK(config.error().message.starts_with("fuzz/config.json: "));
    return 0;
  }
  static const std::string kEmpty("\x02\0\0\0\0\0\0\0{}", 10);
  auto weights = quorum::quant::SafetensorsModel::Parse(std::as_bytes(std::span(kEmpty)), "fuzz");
  QUORUM_CHECK(weights.ok());
  const auto quantization = engine::HfQuantization::Read(*config);
  QUORUM_CHECK(quantization.ok() || quantization.error().message.starts_with("fuzz/config.json: "));
  const engine::HfFolder folder{"fuzz", std::move(config).value(), std::move(weights).value()};
  const auto spec = engine::SpecFromHf(folder);
  if (!spec.ok()) {
    QUORUM_CHECK(spec.error().message.starts_with("fuzz/config.json: "));
    return 0;
  }
  QUORUM_CHECK(engine::CheckSpec(*spec).ok());
  QUORUM_CHECK(!engine::TensorsFromHf(folder, *spec).ok());
  return 0;
}

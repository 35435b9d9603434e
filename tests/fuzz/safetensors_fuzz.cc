// The safetensors reader on any bytes, and the index reader on the same bytes as text: what they give can be read.
#include <cstdint>
#include <iterator>
#include <span>
#include <string>

#include "engine/base/check.h"
#include "quant/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace quant = quorum::quant;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const auto file = quant::SafetensorsModel::Parse(bytes, "fuzz");
  if (file.ok()) {
    std::size_t sum = 0;
    for (const auto& [name, tensor] : file->tensors()) {
      QUORUM_CHECK(tensor.elements() * quant::BytesOf(tensor.type) == std::ssize(tensor.data));
      QUORUM_CHECK(tensor.data.empty() || (tensor.data.data() >= bytes.data() &&
                                           tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size()));
      QUORUM_CHECK(file->Find(name) == &tensor && !tensor.Describe().empty());
      sum += tensor.data.size();
    }
    QUORUM_CHECK(sum < size);
  } else {
    QUORUM_CHECK(file.error().message.starts_with("fuzz: "));
  }
  const auto index = quant::ParseSafetensorsIndex({reinterpret_cast<const char*>(data), size});
  if (index.ok()) {
    for (const auto& [tensor, name] : *index) QUORUM_CHECK(name.find('/') == std::string::npos);
  }
  return 0;
}

// The GGUF reader on any bytes: parse, touch every tensor, ask for every key in every way, summarize; and what was
// read, written by GgufWriter, must read back the same.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "quant/gguf.h"
#include "quant/gguf_summary.h"
#include "quant/gguf_writer.h"

namespace quorum::quant {
namespace {

void AskForEverything(const GgufFile& file) {
  for (const auto& [key, value] : file.metadata()) {
    int answers = 0;
    if (const auto v = file.GetInt(key); v.ok()) answers += v->has_value() ? 1 : 0;
    if (const auto v = file.GetFloat(key); v.ok()) answers += v->has_value() ? 1 : 0;
    if (const auto v = file.GetBool(key); v.ok()) answers += v->has_value() ? 1 : 0;
    if (const auto v = file.GetString(key); v.ok()) answers += v->has_value() ? 1 : 0;
    if (const auto v = file.GetStrings(key); v.ok()) answers += *v != nullptr ? 1 : 0;
    if (const auto v = file.GetInts(key); v.ok()) answers += 1;
    if (const auto v = file.GetFloats(key); v.ok()) answers += 1;
    QUORUM_CHECK(answers > 0);  // whatever is in a file can be asked for
  }
}

void TouchTensors(const GgufFile& file, std::span<const std::byte> bytes) {
  constexpr std::int64_t kMost = 1 << 20;
  for (const GgufTensor& tensor : file.tensors()) {
    QUORUM_CHECK(tensor.data.data() >= bytes.data());
    QUORUM_CHECK(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    QUORUM_CHECK(file.FindTensor(tensor.name) == &tensor);
    const std::int64_t n = tensor.elements();
    QUORUM_CHECK(BytesOf(tensor.type, n) == static_cast<std::int64_t>(tensor.data.size()));
    std::vector<float> values(static_cast<std::size_t>(std::min(n, kMost) / 256 * 256));
    Dequantize(tensor.type, tensor.data.data(), values.data(), static_cast<std::int64_t>(values.size()));
    file.Release(tensor);
  }
}

void WriteAndReadBack(const GgufFile& file) {
  const auto alignment = file.GetInt("general.alignment");
  if (!alignment.ok() || alignment->value_or(32) > 4096) return;  // the padding would be gigabytes
  GgufWriter writer;
  for (const GgufEntry& entry : file.entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  for (const GgufTensor& t : file.tensors()) writer.AddTensor(t.name, t.type, t.dims, t.data);
  const auto copy = writer.ToBytes();
  QUORUM_CHECK(copy.ok() && copy->size() == writer.FileBytes());
  const auto again = GgufFile::Parse(*copy, "copy");
  QUORUM_CHECK(again.ok() && again->entries().size() == file.entries().size());
  for (std::size_t i = 0; i < file.entries().size(); ++i) {
    const GgufEntry& a = file.entries()[i];
    const GgufEntry& b = again->entries()[i];
    QUORUM_CHECK(a.key == b.key && a.type == b.type && std::ranges::equal(a.value, b.value));
  }
  QUORUM_CHECK(again->tensors().size() == file.tensors().size());
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const GgufTensor& a = file.tensors()[i];
    const GgufTensor& b = again->tensors()[i];
    QUORUM_CHECK(a.name == b.name && a.dims == b.dims && a.type == b.type && std::ranges::equal(a.data, b.data));
  }
}

}  // namespace
}  // namespace quorum::quant

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace quant = quorum::quant;
  std::vector<std::byte> storage(size + size % 8);  // so that the bytes start at any address
  const std::span<std::byte> bytes = std::span(storage).last(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  const auto file = quant::GgufFile::Parse(bytes, "fuzz");
  if (!file.ok()) {
    QUORUM_CHECK(file.error().message.starts_with("fuzz: "));
    return 0;
  }
  quant::AskForEverything(*file);
  quant::TouchTensors(*file, bytes);
  quant::Summarize(*file);
  quant::WriteAndReadBack(*file);
  return 0;
}

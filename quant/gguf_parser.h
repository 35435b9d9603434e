// The bytes of one GGUF file to its parts: private to quant/ (others use quant/gguf.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "quant/gguf.h"

namespace quorum::quant {

constexpr std::uint32_t kGgufMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kGgufDefaultAlignment = 32;

/// What one file holds. Tensors and entries point into the parsed bytes.
struct GgufPart {
  std::uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufEntry> entries;
  std::vector<GgufTensor> tensors;
  std::uint64_t bytes = 0;
};

/// Parses and checks one file. Errors say what and at which offset; the caller adds the file's name.
Result<GgufPart> ParseGgufPart(std::span<const std::byte> bytes);

/// The same without the tensors' data, which may be missing: their spans are empty.
Result<GgufPart> ParseGgufHead(std::span<const std::byte> bytes);

/// A name from a file in quotes, fit for a message: what does not print is escaped, what is long is cut.
std::string Quoted(std::string_view name);

}  // namespace quorum::quant

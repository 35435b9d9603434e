// The quantizer: floats to blocks of a file's types, searching for the scales that lose least.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quant/dtype.h"

namespace quorum::quant {

/// A type of `quorum quantize`. `int8_exact` is Quorum's own constraint on Q4_K: dmin = 2 d and -127 <= scale q - 2 min
/// <= 127 in every group, so that a weight is one float times one int8. Such blocks are ordinary Q4_K to every reader.
struct Encoding {
  DType type = DType::kF32;
  bool int8_exact = false;

  friend bool operator==(const Encoding&, const Encoding&) = default;
};

/// By name, small or capital letters: f32 f16 bf16 q8_0 (q8) q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k mxfp4, and
/// q4x. Nothing for other names.
std::optional<Encoding> FindEncoding(std::string_view name);
/// In small letters, as FindEncoding reads it.
std::string NameOf(const Encoding& encoding);
/// All names, for messages.
std::string EncodingNames();

/// Quantizes `n` floats (a multiple of the block) of one row to `dst`, BytesOf(type, n) bytes. `importance` (n) weighs
/// the columns' errors: mean squares of what they are multiplied with (an importance matrix); null: all alike. The
/// result depends on the arguments alone, not on the machine. Values that are not finite give some valid block. Returns
/// false for types that it cannot make. Errors are least in the weighted square for each block's d and integers as far
/// as the search finds them. Q8_0, and without importance Q4_0, Q4_1, Q5_0 and Q5_1, are ggml's plain rounding.
bool Encode(const Encoding& encoding, const float* src, const float* importance, void* dst, std::int64_t n);

/// Whether Encode makes `type`, without further constraints.
bool CanEncode(DType type);

/// How these `n` elements are kept, so that others can be: int8-exact where all of these are. REQUIRES: CanEncode(type).
Encoding EncodingOf(DType type, const void* blocks, std::int64_t n);

/// Whether all of them are numbers.
bool AllFinite(const float* values, std::int64_t n);

/// The closest type that rows of `n` values fit in: the encoding itself, or where `n` is no multiple of its block the
/// one of 32 that llama.cpp takes (Q4_K -> Q5_0, Q5_K -> Q5_1, Q6_K -> Q8_0, Q2_K, Q3_K -> Q4_0), or F16.
Encoding FitToRow(const Encoding& encoding, std::int64_t n);

}  // namespace quorum::quant

#include "quant/encode.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/base/check.h"
#include "quant/block_formats.h"
#include "quant/encode_k.h"
#include "quant/encode_plain.h"
#include "quant/encode_small.h"
#include "quant/int8_exact.h"
#include "quant/quantize.h"

namespace quorum::quant {
namespace {

struct NamedEncoding {
  std::string_view name;
  Encoding encoding;
};

constexpr NamedEncoding kEncodings[] = {
    {"f32", {DType::kF32, false}},   {"f16", {DType::kF16, false}},   {"bf16", {DType::kBF16, false}},
    {"q8_0", {DType::kQ8_0, false}}, {"q4x", {DType::kQ4_K, true}},   {"q4_0", {DType::kQ4_0, false}},
    {"q4_1", {DType::kQ4_1, false}}, {"q5_0", {DType::kQ5_0, false}}, {"q5_1", {DType::kQ5_1, false}},
    {"q2_k", {DType::kQ2_K, false}}, {"q3_k", {DType::kQ3_K, false}}, {"q4_k", {DType::kQ4_K, false}},
    {"q5_k", {DType::kQ5_K, false}}, {"q6_k", {DType::kQ6_K, false}}, {"mxfp4", {DType::kMXFP4, false}},
};

/// The weights of a block's errors. With an importance matrix ggml's choice: how much a column is used, and larger
/// values more than small ones, as rounding them harms more. Without one the K-quants lean on larger values the same
/// way, and what else is searched counts all alike.
template <int N>
QUORUM_INLINE void ErrorWeights(const float* x, const float* importance, float* w) {
  using search::Abs, search::F8, search::Load, search::Splat, search::Store, search::Sum;
  F8 squares = Splat(0.0F);
  for (int i = 0; i < N; i += 8) squares += Load(x + i) * Load(x + i);
  const float mean = Sum(squares) / static_cast<float>(N);
  const F8 rms = Splat(std::sqrt(mean));
  F8 sum = Splat(0.0F);
  for (int i = 0; i < N; i += 8) {
    const F8 v = Load(x + i);
    F8 weight = Splat(1.0F);
    if (importance != nullptr) {
      const F8 size = Splat(mean) + v * v;
      for (int l = 0; l < 8; ++l) weight[l] = std::sqrt(size[l]);
      weight *= Load(importance + i);
    } else if (N == kSuperBlock) {
      weight = rms + Abs(v);
    }
    Store(weight, w + i);
    sum += weight;
  }
  // Columns that were never used, a block of zeros: the plain error.
  const float total = Sum(sum);
  if (total > 0.0F && std::isfinite(total)) return;
  for (int i = 0; i < N; i += 8) Store(Splat(1.0F), w + i);
}

/// Whether ggml's plain rounding is the answer: always of Q8_0, and without importance of the four simplest types,
/// where a search that knows nothing of the columns gains nothing that a model's answers would show.
bool IsPlain(DType type, const float* importance) {
  switch (type) {
    case DType::kQ8_0: return true;
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1: return importance == nullptr;
    default: return false;
  }
}

QUORUM_INLINE void EncodePlain(const DTypeInfo& info, DType type, const float* x, std::uint8_t* dst,
                               std::int64_t blocks) {
  constexpr std::int64_t kBlocks = search::kPlainBlocks;
  alignas(32) float padded[kBlocks * kSmallBlock] = {};
  std::uint8_t room[kBlocks * 34];
  const auto bytes = static_cast<std::size_t>(info.bytes);
  for (; blocks > 0; blocks -= kBlocks, x += kBlocks * kSmallBlock, dst += static_cast<std::size_t>(kBlocks) * bytes) {
    const bool whole = blocks >= kBlocks;
    if (!whole) std::memcpy(padded, x, static_cast<std::size_t>(blocks * kSmallBlock) * sizeof(float));
    const float* from = whole ? x : padded;
    std::uint8_t* to = whole ? dst : room;
    switch (type) {
      case DType::kQ4_0: search::EightSigned<4>(from, to); break;
      case DType::kQ5_0: search::EightSigned<5>(from, to); break;
      case DType::kQ4_1: search::EightAffine<4>(from, to); break;
      case DType::kQ5_1: search::EightAffine<5>(from, to); break;
      default: search::EightQ8_0(from, to); break;
    }
    if (!whole) std::memcpy(dst, room, static_cast<std::size_t>(blocks) * bytes);
  }
}

/// Blocks of 32.
QUORUM_INLINE void EncodeSmall(DType type, const float* x, const float* importance, std::uint8_t* dst) {
  alignas(32) float w[kSmallBlock];
  ErrorWeights<kSmallBlock>(x, importance, w);
  switch (type) {
    case DType::kQ4_0: search::MakeSigned<4>(x, w, dst); break;
    case DType::kQ5_0: search::MakeSigned<5>(x, w, dst); break;
    case DType::kQ4_1: search::MakeAffine<4>(x, w, dst); break;
    case DType::kQ5_1: search::MakeAffine<5>(x, w, dst); break;
    default: search::MakeMxfp4(x, w, dst); break;
  }
}

QUORUM_INLINE void EncodeSuper(const Encoding& encoding, const float* x, const float* importance, std::uint8_t* dst) {
  alignas(32) float w[kSuperBlock];
  ErrorWeights<kSuperBlock>(x, importance, w);
  switch (encoding.type) {
    case DType::kQ2_K: search::MakeQ2_K(x, w, dst); break;
    case DType::kQ3_K: search::MakeQ3_K(x, w, dst); break;
    case DType::kQ4_K: encoding.int8_exact ? search::MakeQ4X(x, w, dst) : search::MakeQ4_K(x, w, dst); break;
    case DType::kQ5_K: search::MakeQ5_K(x, w, dst); break;
    default: search::MakeQ6_K(x, w, dst); break;
  }
}

QUORUM_INLINE void EncodeBlocks(const Encoding& encoding, const float* src, const float* importance, std::uint8_t* dst,
                                std::int64_t blocks) {
  const DTypeInfo& info = Info(encoding.type);
  if (IsPlain(encoding.type, importance)) return EncodePlain(info, encoding.type, src, dst, blocks);
  const auto size = static_cast<int>(info.block);
  for (std::int64_t b = 0; b < blocks; ++b, src += size, dst += info.bytes) {
    if (size == kSuperBlock) {
      EncodeSuper(encoding, src, importance, dst);
    } else {
      EncodeSmall(encoding.type, src, importance, dst);
    }
    if (importance != nullptr) importance += size;
  }
}

using EncodeFn = void (*)(const Encoding&, const float*, const float*, std::uint8_t*, std::int64_t);

void EncodeBase(const Encoding& encoding, const float* src, const float* importance, std::uint8_t* dst,
                std::int64_t blocks) {
  EncodeBlocks(encoding, src, importance, dst, blocks);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void EncodeAvx2(const Encoding& encoding, const float* src, const float* importance,
                                        std::uint8_t* dst, std::int64_t blocks) {
  EncodeBlocks(encoding, src, importance, dst, blocks);
}

EncodeFn Choose() { return __builtin_cpu_supports("avx2") ? EncodeAvx2 : EncodeBase; }
#else
EncodeFn Choose() { return EncodeBase; }
#endif

}  // namespace

std::optional<Encoding> FindEncoding(std::string_view name) {
  std::string small;
  for (const char c : name) small += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (small == "q8") small = "q8_0";
  for (const NamedEncoding& known : kEncodings) {
    if (known.name == small) return known.encoding;
  }
  return std::nullopt;
}

std::string NameOf(const Encoding& encoding) {
  for (const NamedEncoding& known : kEncodings) {
    if (known.encoding == encoding) return std::string(known.name);
  }
  std::string small;
  for (const char c : Info(encoding.type).name) small += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return small;
}

std::string EncodingNames() {
  std::string names;
  for (const NamedEncoding& known : kEncodings) {
    if (!names.empty()) names += ' ';
    names += known.name;
  }
  return names;
}

namespace {

bool Known(const Encoding& encoding) {
  return std::ranges::any_of(kEncodings, [&](const NamedEncoding& at) { return at.encoding == encoding; });
}

}  // namespace

bool CanEncode(DType type) { return Known({type, false}); }

Encoding EncodingOf(DType type, const void* blocks, std::int64_t n) {
  return {type, type == DType::kQ4_K && IsInt8Exact(blocks, n)};
}

bool Encode(const Encoding& encoding, const float* src, const float* importance, void* dst, std::int64_t n) {
  if (!Known(encoding)) return false;
  const DTypeInfo& info = Info(encoding.type);
  QUORUM_CHECK(n >= 0 && n % info.block == 0);
  if (info.block == 1) return Quantize(encoding.type, src, dst, n);
  static const EncodeFn encode = Choose();
  encode(encoding, src, importance, static_cast<std::uint8_t*>(dst), n / info.block);
  return true;
}

bool AllFinite(const float* values, std::int64_t n) {
  constexpr std::uint32_t kExponent = 0x7f800000;  // all its bits are set in what is not finite
  std::uint32_t found = 0;
  for (std::int64_t i = 0; i < n; ++i) {  // the compiler makes vectors of this, also without AVX
    std::uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    found |= (bits & kExponent) == kExponent ? 1U : 0U;
  }
  return found == 0;
}

Encoding FitToRow(const Encoding& encoding, std::int64_t n) {
  if (n % Info(encoding.type).block == 0) return encoding;
  if (n % kSmallBlock != 0) return {DType::kF16, false};
  switch (encoding.type) {
    case DType::kQ5_K: return {DType::kQ5_1, false};
    case DType::kQ6_K: return {DType::kQ8_0, false};
    case DType::kQ4_K: return {DType::kQ5_0, false};
    default: return {DType::kQ4_0, false};
  }
}

}  // namespace quorum::quant

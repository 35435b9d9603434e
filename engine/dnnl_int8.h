// oneDNN's int8 matrix product: the yardstick for our own products of quantized weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/result.h"

namespace quorum::engine {

/// y = x w of u8 activations (m, k), s8 weights (k, n) in the layout that oneDNN likes best, and s32 results (m, n):
/// what its fastest int8 path does, without any scale. One thread's.
class DnnlInt8Product {
 public:
  /// With `copies` different matrices of weights, all ones. Errors: kUnsupported where oneDNN has only its reference
  /// implementation, or fails.
  static Result<DnnlInt8Product> Create(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t copies);
  DnnlInt8Product(DnnlInt8Product&&) noexcept;
  DnnlInt8Product& operator=(DnnlInt8Product&&) noexcept;
  ~DnnlInt8Product();

  /// One product with weights `copy`. Errors: kInternal. REQUIRES: copy < copies.
  Status Run(std::int64_t copy);

  /// The first result of the last Run: k, where the activations are ones as well.
  std::int32_t first() const;
  const std::string& implementation() const;  // oneDNN's name for it, e.g. "brg:avx512_core_vnni"

 private:
  struct Parts;
  explicit DnnlInt8Product(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace quorum::engine

#include "engine/kernels/dispatch.h"

#include "engine/base/check.h"
#include "engine/base/log.h"

namespace quorum::engine {

const KernelTable& KernelsFor(Isa isa) {
  QUORUM_CHECK(isa <= DetectIsa());
  if (isa == Isa::kAmx && AmxKernels() != nullptr) return *AmxKernels();
  if (isa >= Isa::kAvx512 && Avx512Kernels() != nullptr) return *Avx512Kernels();
  if (isa >= Isa::kAvx2 && Avx2Kernels() != nullptr) return *Avx2Kernels();
  return ScalarKernels();
}

Result<const KernelTable*> ChooseKernels() {
  QUORUM_ASSIGN(const Isa isa, ChooseIsa());
  const Isa best = DetectIsa();
  const KernelTable& table = KernelsFor(isa);
  if (isa < best) {
    Log(LogLevel::kInfo, "kernels: {} (QUORUM_ISA; this CPU could run {}: {})", table.name, IsaName(best), CpuFeatures());
  } else {
    Log(LogLevel::kDebug, "kernels: {} (this CPU has {})", table.name, CpuFeatures());
  }
  return &table;
}

}  // namespace quorum::engine

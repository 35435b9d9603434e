#include "engine/kernels/dispatch.h"

#include "engine/base/check.h"
#include "engine/base/log.h"

namespace quorum::engine {
namespace {

const KernelTable* TableOf(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return &ScalarKernels();
    case Isa::kAvx2: return Avx2Kernels();
    case Isa::kAvxVnni: return AvxVnniKernels();
    case Isa::kAvx512: return Avx512Kernels();
    case Isa::kAmx: return AmxKernels();
  }
  return nullptr;
}

}  // namespace

const KernelTable& KernelsFor(Isa isa) {
  const KernelTable* table = TableOf(isa);
  QUORUM_CHECK(table != nullptr);
  return *table;
}

Result<const KernelTable*> ChooseKernels() {
  QUORUM_ASSIGN(const Isa isa, ChooseIsa());
  const Isa best = DetectIsa();
  const KernelTable& table = KernelsFor(isa);
  if (isa < best) {
    Log(LogLevel::kInfo, "kernels: {} (QUORUM_ISA; this CPU could run {}: {})", table.name, IsaName(best),
        CpuFeatures());
  } else {
    Log(LogLevel::kDebug, "kernels: {} (this CPU has {})", table.name, CpuFeatures());
  }
  return &table;
}

}  // namespace quorum::engine

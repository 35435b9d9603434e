// The tables that this CPU can run. Built without per-file flags, so that asking is safe on any CPU.
#include "engine/base/cpu.h"
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine {

const KernelTable& ScalarKernels() { return scalar::kTable; }

const KernelTable* Avx2Kernels() { return HasIsa(Isa::kAvx2) ? &avx2::kTable : nullptr; }

const KernelTable* AvxVnniKernels() { return HasIsa(Isa::kAvxVnni) ? &avxvnni::kTable : nullptr; }

const KernelTable* Avx512Kernels() { return HasIsa(Isa::kAvx512) ? &avx512::kTable : nullptr; }

const KernelTable* AmxKernels() { return HasIsa(Isa::kAmx) ? &amx::kTable : nullptr; }

}  // namespace quorum::engine

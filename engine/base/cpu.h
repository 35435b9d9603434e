// What instruction sets this CPU and its kernel offer, and which one Quorum uses.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace quorum {

/// Instruction-set levels that have a kernel table, the best last.
// kAvxVnni: AVX2 with VNNI's 256-bit products (Alder Lake, Zen 5). kAvx512: F+BW+DQ+VL+VNNI. kAmx: AMX int8 too, and the
// system lets this process use tiles.
enum class Isa { kScalar, kAvx2, kAvxVnni, kAvx512, kAmx };
inline constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512, Isa::kAmx};

std::string_view IsaName(Isa isa);  // "scalar", "avx2", "avxvnni", "avx512", "amx"

/// Whether the CPU and the operating system support a level. One with kAvx512 need not have kAvxVnni.
bool HasIsa(Isa isa);

/// The best level that the CPU and the operating system support. Asks the kernel once for permission to use AMX tiles.
Isa DetectIsa();

/// The level to use: `DetectIsa()`, lowered by the environment variable QUORUM_ISA=scalar|avx2|avxvnni|avx512|amx.
/// Errors: kInvalidArgument for an unknown name, or for one that this host lacks (with the missing features).
Result<Isa> ChooseIsa();

/// Space-separated features of the host that matter here, e.g. "avx2 fma avx512vnni amx-int8", for logs.
std::string CpuFeatures();

}  // namespace quorum

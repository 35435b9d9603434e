#include "engine/base/cpu.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace quorum {
namespace {

struct Features {
  bool avx2 = false, fma = false, f16c = false;
  bool avx512f = false, avx512bw = false, avx512dq = false, avx512vl = false, avx512vnni = false;
  bool avxvnni = false, avx512bf16 = false, amx_tile = false, amx_int8 = false, amx_bf16 = false;
  bool tiles_allowed = false;
};

std::uint64_t Xgetbv0() {
  std::uint32_t lo = 0;
  std::uint32_t hi = 0;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (static_cast<std::uint64_t>(hi) << 32) | lo;
}

/// Tile data is large, so Linux wants to be asked before a process first touches it (ARCH_REQ_XCOMP_PERM); the answer
/// holds for all its threads.
bool RequestTiles() {
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Features Detect() {
  Features f;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return f;
  const bool osxsave = (c & (1U << 27)) != 0;
  if (!osxsave) return f;
  const std::uint64_t xcr0 = Xgetbv0();
  const bool os_avx = (xcr0 & 0x6) == 0x6;             // XMM and YMM state
  const bool os_avx512 = os_avx && (xcr0 & 0xe0) == 0xe0;  // opmask, ZMM state
  const bool os_amx = (xcr0 & 0x60000) == 0x60000;     // tile config and data
  f.fma = os_avx && (c & (1U << 12)) != 0;
  f.f16c = os_avx && (c & (1U << 29)) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return f;
  f.avx2 = os_avx && (b & (1U << 5)) != 0;
  f.avx512f = os_avx512 && (b & (1U << 16)) != 0;
  f.avx512dq = os_avx512 && (b & (1U << 17)) != 0;
  f.avx512bw = os_avx512 && (b & (1U << 30)) != 0;
  f.avx512vl = os_avx512 && (b & (1U << 31)) != 0;
  f.avx512vnni = os_avx512 && (c & (1U << 11)) != 0;
  f.amx_bf16 = os_amx && (d & (1U << 22)) != 0;
  f.amx_tile = os_amx && (d & (1U << 24)) != 0;
  f.amx_int8 = os_amx && (d & (1U << 25)) != 0;
  f.tiles_allowed = f.amx_tile && f.amx_int8 && RequestTiles();
  const unsigned leaves = a;
  if (leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    f.avxvnni = os_avx && (a & (1U << 4)) != 0;
    f.avx512bf16 = os_avx512 && (a & (1U << 5)) != 0;
  }
  return f;
}

const Features& Host() {
  static const Features features = Detect();
  return features;
}

bool HasAvx2(const Features& f) { return f.avx2 && f.fma && f.f16c; }
bool HasAvx512(const Features& f) {
  return HasAvx2(f) && f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl && f.avx512vnni;
}

bool HasAmx(const Features& f) { return HasAvx512(f) && f.tiles_allowed; }

std::string_view Needs(Isa isa) {
  switch (isa) {
    case Isa::kScalar: break;
    case Isa::kAvx2: return "avx2 fma f16c";
    case Isa::kAvxVnni: return "avx2 fma f16c avxvnni";
    case Isa::kAvx512: return "avx512f avx512bw avx512dq avx512vl avx512vnni";
    case Isa::kAmx: return "avx512vnni amx-int8, and a kernel that lets processes use tiles (Linux 5.16)";
  }
  return "nothing";
}

}  // namespace

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return "scalar";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvxVnni: return "avxvnni";
    case Isa::kAvx512: return "avx512";
    case Isa::kAmx: return "amx";
  }
  return "unknown";
}

bool HasIsa(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return true;
    case Isa::kAvx2: return HasAvx2(Host());
    case Isa::kAvxVnni: return HasAvx2(Host()) && Host().avxvnni;
    case Isa::kAvx512: return HasAvx512(Host());
    case Isa::kAmx: return HasAmx(Host());
  }
  return false;
}

Isa DetectIsa() {
  Isa best = Isa::kScalar;
  for (const Isa isa : kAllIsas) {
    if (HasIsa(isa)) best = isa;
  }
  return best;
}

Result<Isa> ChooseIsa() {
  const Isa best = DetectIsa();
  const char* wanted = std::getenv("QUORUM_ISA");
  if (wanted == nullptr || *wanted == '\0') return best;
  const std::string_view name = wanted;
  for (const Isa isa : kAllIsas) {
    if (name != IsaName(isa)) continue;
    if (!HasIsa(isa)) {
      return InvalidArgument("QUORUM_ISA=" + std::string(name) + " is not supported here: this CPU has " +
                             CpuFeatures() + ", needs " + std::string(Needs(isa)));
    }
    return isa;
  }
  return InvalidArgument("QUORUM_ISA=" + std::string(name) + " is unknown: use scalar, avx2, avxvnni, avx512 or amx");
}

std::string CpuFeatures() {
  const Features& f = Host();
  const std::pair<bool, const char*> list[] = {
      {f.avx2, "avx2"},         {f.fma, "fma"},           {f.f16c, "f16c"},         {f.avxvnni, "avxvnni"},
      {f.avx512f, "avx512f"},   {f.avx512bw, "avx512bw"}, {f.avx512dq, "avx512dq"}, {f.avx512vl, "avx512vl"},
      {f.avx512vnni, "avx512vnni"}, {f.avx512bf16, "avx512bf16"}, {f.amx_int8, "amx-int8"}, {f.amx_bf16, "amx-bf16"},
  };
  std::string out;
  for (const auto& [has, feature] : list) {
    if (!has) continue;
    if (!out.empty()) out += ' ';
    out += feature;
  }
  return out.empty() ? "none of avx2, avx512, amx" : out;
}

}  // namespace quorum

#include "tests/support/kernel_tables.h"

namespace quorum::engine::avxvnni_emulated {

extern const KernelTable kTable;  // tests/emulated

}  // namespace quorum::engine::avxvnni_emulated

namespace quorum::engine::avx512_emulated {

extern const KernelTable kTable;  // tests/emulated

}  // namespace quorum::engine::avx512_emulated

namespace quorum::engine::amx_emulated {

extern const KernelTable kTable;  // tests/emulated

}  // namespace quorum::engine::amx_emulated

namespace quorum::testing {

std::vector<const engine::KernelTable*> VectorTables() {
  std::vector<const engine::KernelTable*> tables;
  if (engine::Avx2Kernels() == nullptr) return tables;
  tables.push_back(engine::Avx2Kernels());
  const engine::KernelTable* avxvnni = engine::AvxVnniKernels();
  tables.push_back(avxvnni != nullptr ? avxvnni : &engine::avxvnni_emulated::kTable);
  const engine::KernelTable* avx512 = engine::Avx512Kernels();
  tables.push_back(avx512 != nullptr ? avx512 : &engine::avx512_emulated::kTable);
  return tables;
}

std::vector<const engine::KernelTable*> MatmulTables() {
  std::vector<const engine::KernelTable*> tables = VectorTables();
  if (tables.empty()) return tables;
  const engine::KernelTable* amx = engine::AmxKernels();
  tables.push_back(amx != nullptr ? amx : &engine::amx_emulated::kTable);
  return tables;
}

std::vector<const engine::KernelTable*> AllTables() {
  std::vector<const engine::KernelTable*> tables = VectorTables();
  tables.insert(tables.begin(), &engine::ScalarKernels());
  return tables;
}

}  // namespace quorum::testing

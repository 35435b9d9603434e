#include "engine/dnnl_gemm.h"

#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <dnnl.hpp>

#include "engine/base/log.h"
#include "engine/kernels/pack_layout.h"
#include "quant/dtype.h"

extern "C" void omp_set_num_threads(int count);  // libgomp, on which Debian's oneDNN runs

namespace quorum::engine {
namespace {

// Below this many rows a product waits for memory, and the own kernels read it at full speed.
constexpr std::int64_t kFewRows = 16;

const KernelTable* base_table = nullptr;  // what runs the rest; set once by WithOneDnn

using dnnl::memory;

/// rows, k, panels, row strides of activations and of results
using Shape = std::array<std::int64_t, 5>;

/// A batch of one product a panel: x (1, m, k) times panels (p, k, 16) gives (p, m, 16), scattered over the rows of
/// dst.
struct Descriptions {
  explicit Descriptions(const Shape& shape)
      : x({1, shape[0], shape[1]}, memory::data_type::f32, {shape[0] * shape[3], shape[3], 1}),
        w({shape[2], shape[1], kLanes}, memory::data_type::f32, {shape[1] * kLanes, kLanes, 1}),
        y({shape[2], shape[0], kLanes}, memory::data_type::f32, {kLanes, shape[4], 1}) {}
  memory::desc x, w, y;
};

dnnl::matmul::primitive_desc MakeProduct(const dnnl::engine& engine, const Descriptions& d) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, d.x, d.w, d.y};
#else
  return {dnnl::matmul::desc(d.x, d.w, d.y), engine};
#endif
}

bool IsReference(const dnnl::matmul::primitive_desc& product) {
  return std::strncmp(product.impl_info_str(), "ref", 3) == 0;
}

/// Each thread's own: oneDNN would start threads of its own otherwise, beside Quorum's.
class Worker {
 public:
  Worker() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) { omp_set_num_threads(1); }

  /// False where oneDNN has nothing but its reference implementation for the shape.
  bool Run(const Shape& shape, const float* x, const float* w, float* y) {
    auto found = products_.find(shape);
    const Descriptions d(shape);
    if (found == products_.end()) {
      if (products_.size() >= 4096) products_.clear();
      const auto made = MakeProduct(engine_, d);
      const bool slow = IsReference(made);
      if (slow) Warn(made.impl_info_str());
      found = products_.emplace(shape, slow ? dnnl::matmul() : dnnl::matmul(made)).first;
    }
    if (!found->second) return false;
    memory mx(d.x, engine_, const_cast<float*>(x));
    memory mw(d.w, engine_, const_cast<float*>(w));
    memory my(d.y, engine_, y);
    found->second.execute(stream_, {{DNNL_ARG_SRC, mx}, {DNNL_ARG_WEIGHTS, mw}, {DNNL_ARG_DST, my}});
    stream_.wait();
    return true;
  }

  std::vector<float> rows, panels;  // gathered activations; widened weights

 private:
  static void Warn(const char* name) {
    static std::once_flag once;
    std::call_once(once, [&] {
      Log(LogLevel::kError, "oneDNN has only '{}' for a product; Quorum's own kernels compute it instead", name);
    });
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::map<Shape, dnnl::matmul> products_;
};

/// Panels as floats: in place, or widened exactly.
const float* PanelsOf(const PackedView& w, std::int64_t begin, std::int64_t end, Worker& worker) {
  const std::uint8_t* first = w.panels + begin * w.panel_bytes;
  const std::int64_t size = w.k * kLanes;
  if (w.format == PackFormat::kF32 && w.panel_bytes == size * 4) return reinterpret_cast<const float*>(first);
  worker.panels.resize(static_cast<std::size_t>((end - begin) * size));
  const quant::DType type = w.format == PackFormat::kF32   ? quant::DType::kF32
                            : w.format == PackFormat::kF16 ? quant::DType::kF16
                                                           : quant::DType::kBF16;
  for (std::int64_t p = begin; p < end; ++p) {
    quant::Dequantize(type, w.panels + p * w.panel_bytes, worker.panels.data() + (p - begin) * size, size);
  }
  return worker.panels.data();
}

bool TryMatMul(const PackedView& w, const ActView& act, const int32_t* rows, std::int64_t m, std::int64_t begin,
               std::int64_t end, float* dst, std::int64_t ld) {
  try {
    thread_local Worker worker;
    const float* x = act.x;
    std::int64_t ld_x = act.ld_x;
    if (rows != nullptr) {
      worker.rows.resize(static_cast<std::size_t>(m * w.k));
      for (std::int64_t i = 0; i < m; ++i) {
        std::memcpy(worker.rows.data() + i * w.k, act.x + rows[i] * act.ld_x,
                    static_cast<std::size_t>(w.k) * sizeof(float));
      }
      x = worker.rows.data();
      ld_x = w.k;
    }
    return worker.Run({m, w.k, end - begin, ld_x, ld}, x, PanelsOf(w, begin, end, worker), dst);
  } catch (const dnnl::error& error) {
    static std::once_flag once;
    std::call_once(once, [&] { Log(LogLevel::kError, "oneDNN fails ({}); Quorum's own kernels go on", error.what()); });
    return false;
  }
}

void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, std::int64_t m, std::int64_t begin,
            std::int64_t end, float* dst, std::int64_t ld, const uint8_t* next) {
  const bool floats = TraitsOf(w.format).payload == Payload::kNone;
  if (floats && m >= kFewRows && end > begin && TryMatMul(w, act, rows, m, begin, end, dst, ld)) return;
  base_table->matmul(w, act, rows, m, begin, end, dst, ld, next);
}

}  // namespace

Result<const KernelTable*> WithOneDnn(const KernelTable& base) {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  static std::string name;
  static KernelTable table;
  if (base_table == &base) return &table;
  if (base_table != nullptr) return InvalidArgument("oneDNN already runs beside other kernels in this process");
  try {
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const auto product = MakeProduct(engine, Descriptions({64, 512, 4, 512, 1024}));
    if (IsReference(product)) {
      return Unsupported(fmt::format("{} has only its reference implementation '{}' for float products on this CPU",
                                     OneDnnVersion(), product.impl_info_str()));
    }
    Log(LogLevel::kInfo,
        "float products of {} and more rows run on {} ({}): bits may depend on the batch and the machine", kFewRows,
        OneDnnVersion(), product.impl_info_str());
  } catch (const dnnl::error& error) {
    return Unsupported(fmt::format("{} cannot make float products on this CPU: {}", OneDnnVersion(), error.what()));
  }
  table = base;
  name = std::string(base.name) + "+onednn";
  table.name = name.c_str();
  table.matmul = MatMul;
  base_table = &base;
  return &table;
}

std::string OneDnnVersion() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace quorum::engine

#include "engine/dnnl_int8.h"

#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <dnnl.hpp>

#include "engine/base/check.h"
#include "engine/dnnl_gemm.h"

extern "C" void omp_set_num_threads(int count);  // libgomp, on which Debian's oneDNN runs

namespace quorum::engine {

using dnnl::memory;

struct DnnlInt8Product::Parts {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  memory x, y;
  std::vector<memory> weights;
  std::string implementation;
};

DnnlInt8Product::DnnlInt8Product(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
DnnlInt8Product::DnnlInt8Product(DnnlInt8Product&&) noexcept = default;
DnnlInt8Product& DnnlInt8Product::operator=(DnnlInt8Product&&) noexcept = default;
DnnlInt8Product::~DnnlInt8Product() = default;

Result<DnnlInt8Product> DnnlInt8Product::Create(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t copies) {
  omp_set_num_threads(1);  // of this thread's products
  try {
    auto parts = std::make_unique<Parts>();
    const memory::desc x({m, k}, memory::data_type::u8, memory::format_tag::ab);
    const memory::desc any({k, n}, memory::data_type::s8, memory::format_tag::any);
    const memory::desc y({m, n}, memory::data_type::s32, memory::format_tag::ab);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc made(parts->engine, x, any, y);
#else
    const dnnl::matmul::primitive_desc made(dnnl::matmul::desc(x, any, y), parts->engine);
#endif
    parts->implementation = made.impl_info_str();
    if (parts->implementation.starts_with("ref")) {
      return Unsupported(fmt::format("{} has only its reference implementation '{}' for int8 products on this CPU",
                                     OneDnnVersion(), parts->implementation));
    }
    parts->product = dnnl::matmul(made);
    parts->x = memory(x, parts->engine);
    parts->y = memory(y, parts->engine);
    std::memset(parts->x.get_data_handle(), 1, x.get_size());
    const memory::desc plain({k, n}, memory::data_type::s8, memory::format_tag::ab);
    memory ones(plain, parts->engine);
    std::memset(ones.get_data_handle(), 1, plain.get_size());
    for (std::int64_t copy = 0; copy < copies; ++copy) {
      memory weights(made.weights_desc(), parts->engine);
      dnnl::reorder(ones, weights).execute(parts->stream, ones, weights);
      parts->weights.push_back(std::move(weights));
    }
    parts->stream.wait();
    return DnnlInt8Product(std::move(parts));
  } catch (const dnnl::error& error) {
    return Unsupported(
        fmt::format("{} makes no int8 product of {} x {} x {}: {}", OneDnnVersion(), m, n, k, error.what()));
  }
}

Status DnnlInt8Product::Run(std::int64_t copy) {
  QUORUM_CHECK(copy >= 0 && copy < std::ssize(parts_->weights));
  try {
    parts_->product.execute(parts_->stream, {{DNNL_ARG_SRC, parts_->x},
                                             {DNNL_ARG_WEIGHTS, parts_->weights[static_cast<std::size_t>(copy)]},
                                             {DNNL_ARG_DST, parts_->y}});
    parts_->stream.wait();
    return {};
  } catch (const dnnl::error& error) {
    return Internal(fmt::format("{} fails: {}", OneDnnVersion(), error.what()));
  }
}

std::int32_t DnnlInt8Product::first() const { return *static_cast<const std::int32_t*>(parts_->y.get_data_handle()); }

const std::string& DnnlInt8Product::implementation() const { return parts_->implementation; }

}  // namespace quorum::engine

// Speed of attention over KV pages on one thread, not a test: microseconds a page, and billions of operations (two a
// multiplication, scores and values) a second, by KV type and number of query rows.
//   attention_bench [--isa scalar|avx2|avxvnni|avx512|amx] [--type int8|bf16|f32] [--dim 128] [--rows 1,4,8,64]
//   [--pages 8] [--stream MIB] [--seconds 0.1]
// A call reads so many pages, as many as the engine's do. Without --stream they are the same again and again, so they
// lie in some cache; with it, the pages that fill that much memory take turns, in a shuffled order.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kernels/kv_layout.h"
#include "tests/bench/bench_tools.h"
#include "tests/engine/random_weights.h"

namespace quorum::engine {
namespace {

struct Options : BenchOptions {
  KvType type = KvType::kInt8;
  std::int64_t dim = 128;
  std::vector<std::int64_t> rows = {1, 4, 8, 64};
  std::int64_t pages = kKvSplitTokens / kKvPageTokens;
};

bool Parse(int argc, char** argv, Options* options) {
  const std::map<std::string, KvType> types = {{"int8", KvType::kInt8}, {"bf16", KvType::kBf16}, {"f32", KvType::kF32}};
  return ParseFlags(argc, argv, options, [&](const std::string& flag, const std::string& value) {
    if (flag == "--type") {
      if (!types.contains(value)) return false;
      options->type = types.at(value);
    } else if (flag == "--dim") {
      options->dim = std::stoll(value);
      if (options->dim <= 0 || options->dim % 4 != 0) return false;
    } else if (flag == "--rows") {
      options->rows = Numbers(value);
    } else if (flag == "--pages") {
      options->pages = std::stoll(value);
    } else {
      return false;
    }
    return true;
  });
}

/// Pages of one layer and KV head with random contents.
struct Pages {
  std::int64_t calls;
  test::AlignedBytes memory;
  std::vector<const void*> blocks;

  Pages(const Options& options, test::Random& random)
      : calls(std::max<std::int64_t>(1, options.stream_mib * (1 << 20) / (options.pages * BlockBytes(options)))),
        memory(calls * options.pages * BlockBytes(options)) {
    const std::int64_t bytes = BlockBytes(options);
    const std::int64_t scales = KvScaleOffset(options.type, options.dim, options.dim);
    const std::int64_t elements = scales / KvElementBytes(options.type);
    for (std::int64_t page = 0; page < calls * options.pages; ++page) {
      std::uint8_t* block = memory.data() + page * bytes;
      for (std::int64_t i = 0; i < elements; ++i) {
        const float value = test::Uniform(random, -1, 1);
        if (options.type == KvType::kF32) {
          std::memcpy(block + 4 * i, &value, 4);
        } else if (options.type == KvType::kBf16) {
          const std::uint16_t bits = quant::FloatToBf16(value);
          std::memcpy(block + 2 * i, &bits, 2);
        } else {  // keys have 128 added, values have not
          block[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(value * 127.0F) + 128);
          if (i >= options.dim * kKvPageTokens) block[i] ^= 0x80;
        }
      }
      for (std::int64_t i = scales; i < bytes; i += 4) {
        const float scale = test::Uniform(random, 0.001F, 0.01F);
        std::memcpy(block + i, &scale, 4);
      }
      blocks.push_back(block);
    }
    std::shuffle(blocks.begin(), blocks.end(), random);
  }

  static std::int64_t BlockBytes(const Options& options) {
    return KvBlockBytes(options.type, options.dim, options.dim);
  }
};

/// Seconds of one page for `rows` rows: the best of some repetitions.
double TimePage(const Options& options, const Pages& pages, std::int64_t rows, test::Random& random) {
  const std::int64_t dv = KvPaddedDim(options.dim);
  std::vector<float> q(static_cast<std::size_t>(rows * options.dim));
  for (float& value : q) value = test::Uniform(random, -0.5F, 0.5F);
  const std::vector<std::int32_t> first(static_cast<std::size_t>(rows), 0);
  const std::vector<std::int32_t> last(static_cast<std::size_t>(rows),
                                       static_cast<std::int32_t>(options.pages * kKvPageTokens));
  std::vector<float> m(static_cast<std::size_t>(rows));
  std::vector<float> l(static_cast<std::size_t>(rows));
  test::AlignedBytes o(rows * dv * std::int64_t{sizeof(float)});
  test::AlignedBytes scratch(AttendScratchBytes(options.type, rows, options.dim, options.dim, false));

  AttendPageArgs args = {};
  args.type = options.type;
  args.head_dim_k = args.head_dim_v = options.dim;
  args.pages = options.pages;
  args.rows = rows;
  args.q = q.data();
  args.first = first.data();
  args.last = last.data();
  args.m = m.data();
  args.l = l.data();
  args.o = reinterpret_cast<float*>(o.data());
  args.scratch = reinterpret_cast<std::int8_t*>(scratch.data());

  double best = 1e9;
  const double begin = ThreadSeconds();
  for (int runs = 0; runs < 3 || ThreadSeconds() - begin < options.seconds; ++runs) {
    const double start = ThreadSeconds();
    for (std::int64_t call = 0; call < pages.calls; ++call) {
      std::fill(m.begin(), m.end(), -INFINITY);
      std::fill(l.begin(), l.end(), 0.0F);
      std::memset(o.data(), 0, static_cast<std::size_t>(rows * dv) * sizeof(float));
      args.blocks = pages.blocks.data() + call * options.pages;
      args.next = pages.blocks[static_cast<std::size_t>((call + 1) % pages.calls * options.pages)];
      options.table->attend_page(args);
    }
    best = std::min(best, (ThreadSeconds() - start) / static_cast<double>(pages.calls * options.pages));
  }
  return best;
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) {
    std::fputs("see the head of tests/bench/attention_bench.cc for the flags\n", stderr);
    return 2;
  }
  test::Random random(1);
  const Pages pages(options, random);
  std::printf("%s, head size %lld, %lld pages a call\n", options.table->name, static_cast<long long>(options.dim),
              static_cast<long long>(options.pages));
  for (const std::int64_t rows : options.rows) {
    const double seconds = TimePage(options, pages, rows, random);
    const auto operations = static_cast<double>(4 * rows * options.dim * kKvPageTokens);
    std::printf("%3lld rows: %7.2f us a page, %5.2f a row, %6.1f GOPS\n", static_cast<long long>(rows), 1e6 * seconds,
                1e6 * seconds / static_cast<double>(rows), 1e-9 * operations / seconds);
  }
  return 0;
}

}  // namespace
}  // namespace quorum::engine

int main(int argc, char** argv) { return quorum::engine::Main(argc, argv); }

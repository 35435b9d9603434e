// Attention of a step: shares the work out over the pool so that no row's bits can show how.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention_memory.h"
#include "engine/base/check.h"
#include "engine/kv_cache.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kBlockRows = 64;  // query rows that share one walk over the pages, about
constexpr std::int64_t kLeastHeads = 8;  // query heads that a walk over pages is worth being shared by
constexpr std::int64_t kSplitPages = kKvSplitTokens / kKvPageTokens;
constexpr std::size_t kMaxPartBytes = std::size_t{64} << 20;  // for the states of blocks that are shared out

/// Some tokens of a slice for one KV head and some query heads of its group. Its rows are (token, query head).
struct Block {
  std::int32_t slice;
  std::int32_t head;    // KV head
  std::int32_t q_head;  // first query head
  std::int32_t q_heads;
  std::int32_t token;  // first token, counted in the slice
  std::int32_t tokens;
  std::int64_t row;          // row of the first token in q and out
  std::int64_t split_begin;  // splits of positions that its rows see
  std::int64_t split_end;
  std::int64_t cost;  // rows * pages
  bool shared;        // each split is a task of its own

  std::int64_t rows() const { return std::int64_t{tokens} * q_heads; }
};

/// The unit of work: a block over all its splits, or over one of them with its state left in `part`.
struct Task {
  std::int32_t block;
  std::int64_t split = -1;  // -1: all
  States part{};
};

/// What the caller's thread keeps from step to step.
struct Plan {
  std::vector<Block> blocks;
  std::vector<Task> tasks;
  std::vector<std::size_t> joins;  // for each block that is shared out: its first task
  Arena parts;
};

class Step {
 public:
  Step(const KernelTable& kernels, const KvCache& cache, std::int32_t layer, const AttentionParams& params,
       std::span<const AttendSlice> slices, const float* q, float* out)
      : kernels_(kernels),
        cache_(cache),
        layer_(layer),
        params_(params),
        slices_(slices),
        q_(q),
        out_(out),
        group_(params.heads / cache.shape().kv_heads),
        dk_(cache.shape().padded_k()),
        dv_(cache.shape().padded_v()),
        padded_(KvPaddedDim(dv_)) {
    QUORUM_CHECK(group_ > 0 && group_ * cache.shape().kv_heads == params.heads);
  }

  void Run(ThreadPool& pool) {
    thread_local Plan kept;
    Plan& plan = kept;  // a lambda would not capture `kept` but see each worker's own
    MakeBlocks(plan, QueryHeadsOfBlock(pool.size()));
    MakeTasks(plan, pool.size());
    const std::int64_t tasks = std::ssize(plan.tasks);
    pool.ParallelFor(tasks, [&](std::int64_t index, int) {
      const std::int64_t then = index + pool.size();  // tasks go round the workers, about
      RunTask(plan, plan.tasks[static_cast<std::size_t>(index)],
              then < tasks ? FirstPage(plan, plan.tasks[static_cast<std::size_t>(then)]) : nullptr);
    });
    if (plan.joins.empty()) return;
    pool.ParallelFor(static_cast<std::int64_t>(plan.joins.size()),
                     [&](std::int64_t join, int) { Join(plan, plan.joins[static_cast<std::size_t>(join)]); });
  }

 private:
  std::int64_t FirstVisible(const AttendSlice& slice, std::int64_t token) const {
    if (params_.window == 0 || slice.whole > 0) return 0;
    return std::max<std::int64_t>(0, slice.pos + token - params_.window + 1);
  }
  /// One past the last position that the token sees.
  static std::int64_t EndVisible(const AttendSlice& slice, std::int64_t token) {
    return slice.whole > 0 ? slice.whole : slice.pos + token + 1;
  }

  std::int64_t ScratchBytes(std::int64_t rows) const {
    return AttendScratchBytes(cache_.shape().type, rows, dk_, dv_, cache_.shape().values_in_keys);
  }

  /// A large group (128 query heads share the one KV head of DeepSeek-V3) is cut into blocks, finer when there would be
  /// too few of them for the threads. Rows do not see which.
  std::int64_t QueryHeadsOfBlock(int threads) const {
    std::int64_t tokens = 0;
    for (const AttendSlice& slice : slices_) tokens += slice.tokens;
    std::int64_t heads = std::min(group_, kBlockRows);
    while (heads > kLeastHeads && tokens * params_.heads / kBlockRows < threads &&
           params_.heads / heads < 2 * threads) {
      heads = (heads + 1) / 2;
    }
    return heads;
  }

  void MakeBlocks(Plan& plan, std::int64_t q_heads) const {
    plan.blocks.clear();
    const std::int64_t block_tokens = std::max<std::int64_t>(1, kBlockRows / q_heads);
    std::int64_t row = 0;
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      const AttendSlice& slice = slices_[s];
      const std::int64_t tokens = slice.tokens;
      QUORUM_CHECK(slice.pos >= 0 &&
                   static_cast<std::int64_t>(slice.pages.size()) * kKvPageTokens >= EndVisible(slice, tokens - 1));
      for (std::int64_t token = 0; token < tokens; token += block_tokens) {
        const std::int64_t count = std::min(block_tokens, tokens - token);
        const std::int64_t first = FirstVisible(slice, token);
        const std::int64_t last = EndVisible(slice, token + count - 1);
        Block block{};
        block.slice = static_cast<std::int32_t>(s);
        block.token = static_cast<std::int32_t>(token);
        block.tokens = static_cast<std::int32_t>(count);
        block.row = row + token;
        block.split_begin = first / kKvSplitTokens;
        block.split_end = (last - 1) / kKvSplitTokens + 1;
        for (block.head = 0; block.head < cache_.shape().kv_heads; ++block.head) {
          for (std::int64_t first_head = 0; first_head < group_; first_head += q_heads) {
            block.q_head = static_cast<std::int32_t>(block.head * group_ + first_head);
            block.q_heads = static_cast<std::int32_t>(std::min(q_heads, group_ - first_head));
            block.cost = block.rows() * ((last - 1) / kKvPageTokens - first / kKvPageTokens + 1);
            plan.blocks.push_back(block);
          }
        }
      }
      row += tokens;
    }
    // The dearest first, so that no thread starts a long task when the others are done.
    std::stable_sort(plan.blocks.begin(), plan.blocks.end(),
                     [](const Block& a, const Block& b) { return a.cost > b.cost; });
  }

  /// A block is shared out by splits if it alone is more than a fair piece of one thread's work.
  void MakeTasks(Plan& plan, int threads) const {
    plan.tasks.clear();
    plan.joins.clear();
    std::int64_t total = 0;
    for (const Block& block : plan.blocks) total += block.cost;
    std::size_t bytes = 0;
    for (Block& block : plan.blocks) {
      const std::int64_t splits = block.split_end - block.split_begin;
      const std::size_t more = static_cast<std::size_t>(splits) * States::Bytes(block.rows(), padded_);
      block.shared = threads > 1 && splits > 1 && block.cost * 4 * threads > total && bytes + more <= kMaxPartBytes;
      if (block.shared) bytes += more;
    }
    plan.parts.Reset(bytes);
    for (std::size_t b = 0; b < plan.blocks.size(); ++b) {
      const Block& block = plan.blocks[b];
      Task task{};
      task.block = static_cast<std::int32_t>(b);
      if (!block.shared) {
        plan.tasks.push_back(task);
        continue;
      }
      plan.joins.push_back(plan.tasks.size());
      for (task.split = block.split_begin; task.split < block.split_end; ++task.split) {
        task.part = States::Take(plan.parts, block.rows(), padded_);
        plan.tasks.push_back(task);
      }
    }
  }

  /// Fills what does not change from split to split: the rows, their queries and what they see.
  AttendPageArgs Prepare(const Block& block, Arena& arena, const void*** blocks) const {
    const AttendSlice& slice = slices_[static_cast<std::size_t>(block.slice)];
    const std::int64_t rows = block.rows();
    arena.Reset(2 * States::Bytes(rows, padded_) + Arena::Bytes<float>(rows * dk_) +
                3 * Arena::Bytes<std::int32_t>(rows) + Arena::Bytes<const float*>(rows) +
                Arena::Bytes<const void*>(kSplitPages) + Arena::Bytes<std::int8_t>(ScratchBytes(rows)));
    AttendPageArgs args{};
    args.type = cache_.shape().type;
    args.head_dim_k = dk_;
    args.head_dim_v = dv_;
    args.values_in_keys = cache_.shape().values_in_keys;
    args.rows = rows;
    args.softcap = params_.softcap;
    float* q = arena.Take<float>(rows * dk_);
    auto* first = arena.Take<std::int32_t>(rows);
    auto* last = arena.Take<std::int32_t>(rows);
    auto* own = arena.Take<std::int32_t>(rows);
    auto** bias = arena.Take<const float*>(rows);
    for (std::int64_t t = 0; t < block.tokens; ++t) {
      const std::int64_t pos = slice.pos + block.token + t;
      CopyQueries(q_ + ((block.row + t) * params_.heads + block.q_head) * cache_.shape().head_dim_k, block.q_heads,
                  q + t * block.q_heads * dk_);
      for (std::int64_t h = 0; h < block.q_heads; ++h) {
        const std::int64_t row = t * block.q_heads + h;
        first[row] = static_cast<std::int32_t>(FirstVisible(slice, block.token + t));
        last[row] = static_cast<std::int32_t>(EndVisible(slice, block.token + t));
        own[row] = static_cast<std::int32_t>(pos);
        if (params_.bias != nullptr) bias[row] = params_.bias->OfHead(block.q_head + h);
      }
    }
    if (params_.bias != nullptr) {
      args.bias = bias;
      args.bias_pos = own;
      args.bias_reach = params_.bias->reach();
    }
    args.q = q;
    args.first = first;
    args.last = last;
    *blocks = arena.Take<const void*>(kSplitPages);
    args.blocks = *blocks;
    args.scratch = arena.Take<std::int8_t>(ScratchBytes(rows));
    return args;
  }

  /// The queries of some heads times the scale, their parts filled up as those of the keys are.
  void CopyQueries(const float* src, std::int64_t heads, float* dst) const {
    const KvShape& shape = cache_.shape();
    if (dk_ == shape.head_dim_k) {
      for (std::int64_t i = 0; i < heads * dk_; ++i) dst[i] = src[i] * params_.scale;
      return;
    }
    std::fill_n(dst, heads * dk_, 0.0F);
    for (std::int64_t h = 0; h < heads; ++h, src += shape.head_dim_k, dst += dk_) {
      for (std::int64_t i = 0; i < shape.first_k(); ++i) dst[i] = src[i] * params_.scale;
      float* rest = dst + (shape.padded_first_k() - shape.first_k());
      for (std::int64_t i = shape.first_k(); i < shape.head_dim_k; ++i) rest[i] = src[i] * params_.scale;
    }
  }

  /// The first page of a split that the block's rows see.
  std::int64_t SplitBegin(const Block& block, std::int64_t split) const {
    const std::int64_t first = FirstVisible(slices_[static_cast<std::size_t>(block.slice)], block.token);
    return std::max(split * kSplitPages, first / kKvPageTokens);
  }
  const void* PageOf(const Block& block, std::int64_t page) const {
    const AttendSlice& slice = slices_[static_cast<std::size_t>(block.slice)];
    return cache_.KPage(layer_, slice.pages[static_cast<std::size_t>(page)], block.head);
  }
  const void* FirstPage(const Plan& plan, const Task& task) const {
    const Block& block = plan.blocks[static_cast<std::size_t>(task.block)];
    return PageOf(block, SplitBegin(block, task.split < 0 ? block.split_begin : task.split));
  }

  /// Attends the pages of one split from an empty state. `next`: AttendPageArgs::next.
  void AttendSplit(const Block& block, std::int64_t split, const States& state, const void** blocks, const void* next,
                   AttendPageArgs& args) const {
    const AttendSlice& slice = slices_[static_cast<std::size_t>(block.slice)];
    const std::int64_t last = EndVisible(slice, block.token + block.tokens - 1);
    const std::int64_t begin = SplitBegin(block, split);
    const std::int64_t end = std::min((split + 1) * kSplitPages, (last - 1) / kKvPageTokens + 1);
    for (std::int64_t page = begin; page < end; ++page) blocks[page - begin] = PageOf(block, page);
    state.Clear(args.rows, padded_);
    args.pages = end - begin;
    args.next = next;
    args.pos = begin * kKvPageTokens;
    args.m = state.m;
    args.l = state.l;
    args.o = state.o;
    kernels_.attend_page(args);
  }

  static void JoinInto(AttendPageArgs& args, const States& state) {
    args.into_m = state.m;
    args.into_l = state.l;
    args.into_o = state.o;
  }

  /// `next` is the first page of what the thread will probably do then, or null.
  void RunTask(const Plan& plan, const Task& task, const void* next) const {
    thread_local Arena arena;
    const Block& block = plan.blocks[static_cast<std::size_t>(task.block)];
    const void** blocks = nullptr;
    AttendPageArgs args = Prepare(block, arena, &blocks);
    if (task.split >= 0) {
      AttendSplit(block, task.split, task.part, blocks, next, args);
      return;
    }
    const auto after = [&](std::int64_t split) {
      return split + 1 < block.split_end ? PageOf(block, SplitBegin(block, split + 1)) : next;
    };
    const States sum = States::Take(arena, args.rows, padded_);
    AttendSplit(block, block.split_begin, sum, blocks, after(block.split_begin), args);
    const States part = States::Take(arena, args.rows, padded_);
    JoinInto(args, sum);
    args.queries_ready = true;
    for (std::int64_t split = block.split_begin + 1; split < block.split_end; ++split) {
      AttendSplit(block, split, part, blocks, after(split), args);
    }
    Finish(block, args, sum, part);
  }

  /// Joins the parts of a block that was shared out; `first_task` made the first of them.
  void Join(const Plan& plan, std::size_t first_task) const {
    const Block& block = plan.blocks[static_cast<std::size_t>(plan.tasks[first_task].block)];
    const States sum = plan.tasks[first_task].part;
    AttendPageArgs args{};
    args.head_dim_v = dv_;
    args.rows = block.rows();
    JoinInto(args, sum);
    const auto splits = static_cast<std::size_t>(block.split_end - block.split_begin);
    for (std::size_t i = 1; i < splits; ++i) {
      const States part = plan.tasks[first_task + i].part;
      args.m = part.m;
      args.l = part.l;
      args.o = part.o;
      kernels_.attend_page(args);
    }
    Finish(block, args, sum, plan.tasks[first_task + 1].part);
  }

  /// Adds the sinks to the sums, and writes o / l. `free` is overwritten.
  void Finish(const Block& block, AttendPageArgs& args, const States& sum, const States& free) const {
    if (params_.sinks != nullptr) {
      // A sink is a position with score `sink` and value 0.
      for (std::int64_t r = 0; r < args.rows; ++r) free.m[r] = params_.sinks[block.q_head + r % block.q_heads];
      std::fill_n(free.l, args.rows, 1.0F);
      std::fill_n(free.o, args.rows * padded_, 0.0F);
      args.pages = 0;
      args.m = free.m;
      args.l = free.l;
      args.o = free.o;
      JoinInto(args, sum);
      kernels_.attend_page(args);
    }
    const std::int64_t out_dim = cache_.shape().head_dim_v;
    for (std::int64_t r = 0; r < args.rows; ++r) {
      const float factor = 1.0F / sum.l[r];
      const float* src = sum.o + r * padded_;
      float* dst =
          out_ + ((block.row + r / block.q_heads) * params_.heads + block.q_head + r % block.q_heads) * out_dim;
      for (std::int64_t d = 0; d < out_dim; ++d) dst[d] = src[d] * factor;
    }
  }

  const KernelTable& kernels_;
  const KvCache& cache_;
  const std::int32_t layer_;
  const AttentionParams& params_;
  const std::span<const AttendSlice> slices_;
  const float* const q_;
  float* const out_;
  const std::int64_t group_;
  const std::int64_t dk_;  // of keys and values in the cache's memory
  const std::int64_t dv_;
  const std::int64_t padded_;
};

}  // namespace

void Attend(const KernelTable& kernels, ThreadPool& pool, const KvCache& cache, std::int32_t layer,
            const AttentionParams& params, std::span<const AttendSlice> slices, const float* q, float* out) {
  Step(kernels, cache, layer, params, slices, q, out).Run(pool);
}

void Attend(const KernelTable& kernels, ThreadPool& pool, const KvCache& cache, std::int32_t layer,
            const AttentionParams& params, std::span<const StepSlice> slices, const float* q, float* out) {
  thread_local std::vector<AttendSlice> causal;
  causal.clear();
  for (const StepSlice& slice : slices) {
    causal.push_back(
        {.tokens = static_cast<std::int32_t>(slice.tokens.size()), .pos = slice.pos, .pages = slice.pages});
  }
  Attend(kernels, pool, cache, layer, params, causal, q, out);
}

}  // namespace quorum::engine

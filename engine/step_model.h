// What the scheduler needs of a model: run one mixed batch. Tests drive the scheduler with a fake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/base/result.h"
#include "engine/expert_options.h"
#include "engine/expert_trace.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// Tokens per KV page, and the block of positions in which attention walks the cache (DESIGN 4.5).
inline constexpr std::int32_t kPageTokens = 64;

/// One sequence's slice of a step: `tokens` stand at positions pos, pos+1, ... Keys and values of all earlier
/// positions are in `pages` already; this step writes those of its own tokens there.
/// With an encoder-decoder model, a sequence first gives its whole source to the encoder in one slice, which fills
/// pages with what the decoder's cross attention reads; the slices of the decoder's tokens, whose positions and pages
/// start afresh, refer to these.
struct StepSlice {
  std::span<const tok::TokenId> tokens;
  std::int32_t pos = 0;
  std::span<const std::int32_t> pages;     // page ids; covers at least pos + tokens.size() positions
  std::int32_t first_logits = 0;           // logits are wanted for tokens[first_logits ...]; == size(): none
  const ExpertOptions* experts = nullptr;  // null: the model's own routing
  ExpertTally* tally = nullptr;            // null: nobody asked; else counts where these tokens went
  ExpertTrace* trace = nullptr;            // null: nobody asked; else records what became of each of these tokens

  bool encode = false;                              // `tokens` are a whole source: pos is 0, and there are no logits
  std::span<const std::int32_t> source_pages = {};  // of the decoder's slices: what an encoding slice has filled
  std::int32_t source_tokens = 0;                   // positions in these
  /// Not null: (tokens.size(), hidden_size()) gets the last hidden state of every token, after the final norm; no
  /// logits are wanted then.
  float* hidden = nullptr;
};

/// Memory of layers that see only a window of positions: `places` pages at once have some. places == 0: all have.
struct WindowMemory {
  std::int32_t window = 0;  // positions, of the layer that sees most
  std::int32_t places = 0;
};

/// A decoder with its weights and KV cache, perhaps behind an encoder. One caller at a time.
class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual std::int32_t vocab_size() const = 0;
  virtual std::int32_t context_length() const = 0;        // positions that one sequence may have; source and reply each
  virtual std::int32_t num_pages() const = 0;             // KV pages in the cache
  virtual std::int32_t max_step_tokens() const = 0;       // rows of one step; encoding slices apart
  virtual std::int32_t max_step_logits() const = 0;       // rows of logits of one step
  virtual std::int32_t hidden_size() const { return 0; }  // floats of a hidden state; 0: the model gives none

  /// Encoder-decoder models: what stands before the first token of every reply. Nothing: a decoder alone.
  virtual std::optional<tok::TokenId> decoder_start() const { return {}; }

  virtual ExpertShape experts() const { return {}; }  // an encoder's layers last; dense, if not overridden

  virtual WindowMemory window_memory() const { return {}; }
  /// A page is at `place` of the windowed layers' memory from now on, or nowhere there (negative). A step needs one for
  /// each page that it writes, and for those of the window - 1 positions before. Not during a step.
  virtual void MapWindow(std::int32_t page, std::int32_t place) { static_cast<void>(page), static_cast<void>(place); }

  /// Makes page `to` hold the keys and values of page `from`; of windowed layers, if both are mapped. Not during a
  /// step.
  virtual void CopyPage(std::int32_t from, std::int32_t to) = 0;

  /// A page's keys and values as bytes that only the same model, computed the same way, understands: zeros in place of
  /// windowed layers where it is not mapped, which are not written then either. Not during a step.
  virtual std::int64_t page_bytes() const = 0;
  virtual void ReadPage(std::int32_t page, std::span<std::byte> out) const = 0;
  virtual void WritePage(std::int32_t page, std::span<const std::byte> in) = 0;

  /// Computes one step. The sources of its encoding slices together have max_step_tokens() tokens at most, or one alone
  /// has up to context_length(). `logits` gets one row of vocab_size() floats for each token asked for, slices in
  /// order. Bits of a row depend only on that sequence's tokens (DESIGN 1.1).
  virtual Status Step(std::span<const StepSlice> slices, std::span<float> logits) = 0;
};

}  // namespace quorum::engine

// A model and a tokenizer for tests of everything around the model: no weights, every number known beforehand.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/step_model.h"
#include "tokenizer/tokenizer.h"

namespace quorum::test {

/// A hash of a whole token history.
std::uint64_t HashHistory(std::span<const tok::TokenId> history);

/// A StepModel whose logits are a function of the history that it finds in the pages. A page slot keeps the token
/// written there and the hash of the whole history up to it, as keys and values would depend on both; so a page table
/// that does not really hold a sequence's history is found out, and besides gives other logits. An encoded source's
/// slots keep the hash of the whole source, and histories begin with it.
class FakeModel : public engine::StepModel {
 public:
  struct Options {
    std::int32_t vocab = 32;
    std::int32_t context = 1 << 14;
    std::int32_t pages = 64;
    std::int32_t max_step_tokens = 512;
    std::int32_t max_step_logits = 64;
    std::optional<tok::TokenId> decoder_start = {};  // an encoder-decoder model
    engine::WindowMemory window = {};                // slots then have a second half that wants to be mapped
    engine::ExpertShape experts = {};                // expert options then change what a page holds, as they would
  };
  /// What one slice of a step was.
  struct SliceRecord {
    tok::TokenId first_token = 0;  // of the history: tells sequences apart where prompts differ there
    std::int32_t pos = 0;
    std::int32_t tokens = 0;
    std::int32_t rows = 0;  // of logits
    bool operator==(const SliceRecord&) const = default;
  };
  using Logits = std::function<void(std::span<const tok::TokenId> history, std::span<float> row)>;

  FakeModel() : FakeModel(Options{}) {}
  explicit FakeModel(const Options& options);

  std::int32_t vocab_size() const override { return options_.vocab; }
  std::int32_t context_length() const override { return options_.context; }
  std::int32_t num_pages() const override { return options_.pages; }
  std::int32_t max_step_tokens() const override { return options_.max_step_tokens; }
  std::int32_t max_step_logits() const override { return options_.max_step_logits; }
  std::optional<tok::TokenId> decoder_start() const override { return options_.decoder_start; }
  /// A hidden state is {token, position, 1, 0}.
  std::int32_t hidden_size() const override { return options_.decoder_start ? 0 : 4; }
  engine::ExpertShape experts() const override { return options_.experts; }
  engine::WindowMemory window_memory() const override { return options_.window; }
  void MapWindow(std::int32_t page, std::int32_t place) override;
  void CopyPage(std::int32_t from, std::int32_t to) override;
  std::int64_t page_bytes() const override { return 2 * engine::kPageTokens * static_cast<std::int64_t>(sizeof(Slot)); }
  void ReadPage(std::int32_t page, std::span<std::byte> out) const override;
  void WritePage(std::int32_t page, std::span<const std::byte> in) override;
  Status Step(std::span<const engine::StepSlice> slices, std::span<float> logits) override;

  /// Pseudo-random logits in [-4, 4), different for each history.
  static void HashLogits(std::span<const tok::TokenId> history, std::span<float> row);
  /// Logits that make a greedy sequence with a prompt of `prompt_size` tokens reply with `reply`, then with its last
  /// token for ever.
  static Logits Saying(std::int32_t prompt_size, std::vector<tok::TokenId> reply);

  Logits logits = HashLogits;
  std::function<Status(std::span<const engine::StepSlice>)> before_step;  // may block, or fail the step

  const std::vector<std::vector<SliceRecord>>& steps() const { return steps_; }
  std::int64_t tokens_computed() const { return tokens_computed_; }
  /// What callers did wrong; empty is right.
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  struct Slot {
    tok::TokenId token = -1;
    std::uint64_t history = 0;
  };

  Slot& At(std::span<const std::int32_t> pages, std::int32_t pos);
  Slot* WindowAt(std::span<const std::int32_t> pages, std::int32_t pos);
  std::span<const Slot> WindowPage(std::int32_t page) const;
  std::span<Slot> WindowPage(std::int32_t page);
  void CheckWindow(const engine::StepSlice& slice);
  void Fault(std::string what);
  bool CheckShape(std::span<const engine::StepSlice> slices, std::size_t logits);
  void CheckSharing(std::span<const engine::StepSlice> slices);
  std::vector<tok::TokenId> ReadSource(const engine::StepSlice& slice);
  std::uint64_t StartOf(const engine::StepSlice& slice) const;
  void Visit(const engine::StepSlice& slice, std::size_t row) const;
  std::vector<tok::TokenId> ReadHistory(const engine::StepSlice& slice);
  void Encode(const engine::StepSlice& slice);

  Options options_;
  std::vector<Slot> slots_;
  std::vector<Slot> window_slots_;    // of the places
  std::vector<std::int32_t> places_;  // of the pages
  std::vector<std::vector<SliceRecord>> steps_;
  std::int64_t tokens_computed_ = 0;
  std::vector<std::string> faults_;
};

/// A vocabulary given piece by piece. Cannot encode.
class FakeTokenizer : public tok::Tokenizer {
 public:
  /// Pieces "a" to "z", then "0", "1", ... up to `vocab` tokens; the last one is EOS "<eos>", a control token.
  explicit FakeTokenizer(std::int32_t vocab = 32);
  FakeTokenizer(std::vector<std::string> pieces, std::set<tok::TokenId> control, std::set<tok::TokenId> ends)
      : pieces_(std::move(pieces)), control_(std::move(control)), ends_(std::move(ends)) {}

  Result<std::vector<tok::TokenId>> Encode(std::string_view, const tok::EncodeOptions&) const override {
    return Unsupported("FakeTokenizer does not encode");
  }
  std::string_view TokenBytes(tok::TokenId id) const override;
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  bool IsControl(tok::TokenId id) const override { return control_.contains(id); }
  bool IsEndOfGeneration(tok::TokenId id) const override { return ends_.contains(id); }
  std::optional<tok::TokenId> bos() const override { return {}; }
  std::optional<tok::TokenId> eos() const override;
  std::optional<tok::TokenId> FindToken(std::string_view text) const override;

 private:
  std::vector<std::string> pieces_;
  std::set<tok::TokenId> control_;
  std::set<tok::TokenId> ends_;
};

}  // namespace quorum::test

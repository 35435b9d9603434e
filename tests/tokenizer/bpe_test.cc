#include "tokenizer/bpe.h"

#include <limits>
#include <map>
#include <random>

#include "tests/support/catch.h"

namespace quorum::tok {
namespace {

/// A byte vocabulary of the letters a..f and random merges of what there is.
struct RandomVocab {
  std::vector<std::string> texts;
  std::vector<BpeMerge> merges;
};

RandomVocab MakeRandomVocab(std::mt19937& random, int merge_count) {
  RandomVocab vocab;
  std::map<std::string, TokenId> ids;
  for (char c = 'a'; c <= 'f'; ++c) {
    ids[std::string(1, c)] = static_cast<TokenId>(vocab.texts.size());
    vocab.texts.emplace_back(1, c);
  }
  std::map<std::pair<TokenId, TokenId>, bool> seen;
  while (static_cast<int>(vocab.merges.size()) < merge_count) {
    std::uniform_int_distribution<std::size_t> pick(0, vocab.texts.size() - 1);
    const std::size_t left = pick(random);
    const std::size_t right = pick(random);
    const std::string text = vocab.texts[left] + vocab.texts[right];
    const std::pair<TokenId, TokenId> pair(left, right);
    if (text.size() > 12 || seen[pair]) continue;
    seen[pair] = true;
    if (ids.emplace(text, static_cast<TokenId>(vocab.texts.size())).second) vocab.texts.push_back(text);
    vocab.merges.push_back({pair.first, pair.second, ids[text], static_cast<std::uint32_t>(vocab.merges.size())});
  }
  return vocab;
}

BpeSpec SpecOf(const RandomVocab& vocab) {
  BpeSpec spec;
  spec.vocab_size = static_cast<TokenId>(vocab.texts.size());
  for (std::size_t i = 0; i < vocab.texts.size(); ++i) {
    spec.entries.push_back({vocab.texts[i], static_cast<TokenId>(i)});
  }
  spec.merges = vocab.merges;
  return spec;
}

/// The definition: again and again merge the pair of lowest rank, leftmost first.
std::vector<TokenId> Reference(const RandomVocab& vocab, const std::string& word) {
  std::vector<TokenId> ids;
  for (const char c : word) ids.push_back(c - 'a');
  while (true) {
    std::size_t best = 0;
    const BpeMerge* best_merge = nullptr;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      for (const BpeMerge& merge : vocab.merges) {
        if (merge.left == ids[i] && merge.right == ids[i + 1] && (!best_merge || merge.rank < best_merge->rank)) {
          best = i;
          best_merge = &merge;
        }
      }
    }
    if (best_merge == nullptr) return ids;
    ids[best] = best_merge->merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::vector<TokenId> Encode(const BpeModel& model, std::string_view word) {
  WordScratch scratch;
  std::vector<TokenId> ids;
  REQUIRE(model.Encode(word, true, scratch, ids).ok());
  return ids;
}

TEST_CASE("Short and long words merge as the definition says") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    const RandomVocab vocab = MakeRandomVocab(random, 5 + round * 3);
    const BpeModel model(SpecOf(vocab));
    for (int i = 0; i < 60; ++i) {
      // Around 64 symbols the algorithm changes.
      const int length = std::uniform_int_distribution<int>(1, i % 3 == 0 ? 200 : 70)(random);
      const int letters = std::uniform_int_distribution<int>(1, 6)(random);
      std::string word;
      for (int k = 0; k < length; ++k) {
        word.push_back(static_cast<char>('a' + std::uniform_int_distribution<int>(0, letters - 1)(random)));
      }
      CAPTURE(round, word);
      CHECK(Encode(model, word) == Reference(vocab, word));
    }
  }
}

TEST_CASE("A word that is an entry stays whole only with ignore_merges") {
  RandomVocab vocab;
  vocab.texts = {"a", "b", "c", "ab", "abc"};
  vocab.merges = {{0, 1, 3, 0}};  // "abc" cannot be reached
  BpeSpec spec = SpecOf(vocab);
  CHECK(Encode(BpeModel(spec), "abc") == std::vector<TokenId>{3, 2});
  spec.ignore_merges = true;
  CHECK(Encode(BpeModel(spec), "abc") == std::vector<TokenId>{4});
  CHECK(Encode(BpeModel(spec), "abca") == std::vector<TokenId>{3, 2, 0});
}

TEST_CASE("Unknown characters become bytes, or the unknown token, or are counted") {
  BpeSpec spec;
  spec.characters = true;
  spec.vocab_size = 6;
  spec.entries = {{"a", 0}, {"\xC3\xA9", 1}};
  const std::string_view text =
      "a\xC3\xA9\xE6\xBC\xA2\xE6\xBC\xA2"
      "a";
  WordScratch scratch;
  std::vector<TokenId> ids;
  REQUIRE(BpeModel(spec).Encode(text, true, scratch, ids).ok());
  CHECK(ids == std::vector<TokenId>{0, 1, 0});
  CHECK(scratch.bytes_without_token == 6);
  spec.unknown.unknown = 2;
  CHECK(Encode(BpeModel(spec), text) == std::vector<TokenId>{0, 1, 2, 2, 0});
  spec.unknown.fuse = true;
  CHECK(Encode(BpeModel(spec), text) == std::vector<TokenId>{0, 1, 2, 0});
  spec.unknown.byte_tokens[0xE6] = 3;
  spec.unknown.byte_tokens[0xBC] = 4;
  CHECK(Encode(BpeModel(spec), text) == std::vector<TokenId>{0, 1, 2, 0});  // one byte is still missing
  spec.unknown.byte_tokens[0xA2] = 5;
  CHECK(Encode(BpeModel(spec), text) == std::vector<TokenId>{0, 1, 3, 4, 5, 3, 4, 5, 0});
}

TEST_CASE("A byte that the vocabulary lacks is left out and counted") {
  RandomVocab vocab;
  vocab.texts = {"a"};
  WordScratch scratch;
  std::vector<TokenId> ids;
  REQUIRE(BpeModel(SpecOf(vocab)).Encode("a\xF1", true, scratch, ids).ok());
  CHECK(ids == std::vector<TokenId>{0});
  CHECK(scratch.bytes_without_token == 1);
}

TEST_CASE("A word of a million letters takes no quadratic time") {
  RandomVocab vocab;
  vocab.texts = {"a", "b", "aa", "aaaa", "ab"};
  vocab.merges = {{0, 0, 2, 0}, {2, 2, 3, 1}, {0, 1, 4, 2}};
  const BpeModel model(SpecOf(vocab));
  const std::vector<TokenId> ids = Encode(model, std::string(1'000'001, 'a') + "b");
  REQUIRE(ids.size() == 250'001);
  CHECK(ids.front() == 3);
  CHECK(ids.back() == 4);
}

}  // namespace
}  // namespace quorum::tok

// Damaged files: whatever the damage, the parser gives an answer or an error, and what it gives can be read.
// Worth most under the address sanitizer.
#include <random>
#include <string>
#include <vector>

#include "quant/gguf.h"
#include "quant/gguf_summary.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

struct Outcome {
  int read = 0;
  int refused = 0;
};

// Parses a copy on the heap (so that the sanitizer sees every byte beyond it), reads all that it gives.
void Try(const std::string& text, Outcome& outcome) {
  const std::vector<std::byte> bytes(std::as_bytes(std::span(text)).begin(), std::as_bytes(std::span(text)).end());
  const auto file = GgufFile::Parse(bytes, "damaged");
  if (!file.ok()) {
    REQUIRE(file.error().message.starts_with("damaged: "));
    ++outcome.refused;
    return;
  }
  ++outcome.read;
  for (const GgufTensor& tensor : file->tensors()) {
    REQUIRE(tensor.data.data() >= bytes.data());
    REQUIRE(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    REQUIRE(static_cast<std::size_t>(BytesOf(tensor.type, tensor.elements())) == tensor.data.size());
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    Dequantize(tensor.type, tensor.data.data(), values.data(), tensor.elements());
    REQUIRE(file->FindTensor(tensor.name) == &tensor);
  }
  Summarize(*file);
}

TEST_CASE("Every truncation of a GGUF file is refused") {
  const std::string whole = ReadFile(Fixture("kinds.gguf"));
  Outcome outcome;
  for (std::size_t n = 0; n < whole.size(); ++n) Try(whole.substr(0, n), outcome);
  // The last tensor ends before the file does: its padding may be missing.
  CHECK(outcome.read == 54);
  CHECK(outcome.refused == static_cast<int>(whole.size()) - 54);
}

TEST_CASE("Flipped bytes of a GGUF file never crash") {
  std::mt19937_64 random(1);
  for (const char* name : {"kinds.gguf", "dense.gguf"}) {
    const std::string whole = ReadFile(Fixture(name));
    REQUIRE(whole.size() > 500);
    const std::size_t head = std::min<std::size_t>(whole.size(), 2600);  // where damage matters
    Outcome outcome;
    for (int i = 0; i < 3000; ++i) {
      std::string damaged = whole;
      const int flips = 1 + static_cast<int>(random() % 4);
      for (int f = 0; f < flips; ++f) damaged[random() % head] = static_cast<char>(random());
      if (random() % 8 == 0) damaged.resize(random() % damaged.size());
      Try(damaged, outcome);
    }
    CHECK(outcome.refused > 300);
    CHECK(outcome.read > 300);
  }
}

}  // namespace
}  // namespace quorum::quant

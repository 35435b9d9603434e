// Runs a fuzzer's function on every file of the folders named on the command line, on no bytes at all, and with
// -mutants=N on N damaged copies of each file, always the same ones (other arguments that start with '-' are
// libFuzzer's and ignored). For builds without libFuzzer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/mutate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using quorum::testing::Bytes;

constexpr std::string_view kMutants = "-mutants=";

std::vector<std::filesystem::path> Inputs(int argc, char** argv) {
  std::vector<std::filesystem::path> out;
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-' || !std::filesystem::exists(argv[i])) continue;
    if (!std::filesystem::is_directory(argv[i])) {
      out.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) out.push_back(entry.path());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

int Mutants(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, kMutants.size()) == kMutants)
      return std::stoi(std::string(argument.substr(kMutants.size())));
  }
  return 0;
}

Bytes Read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return {text.begin(), text.end()};  // on the heap, no larger: a sanitizer guards its end
}

}  // namespace

int main(int argc, char** argv) {
  const auto inputs = Inputs(argc, argv);
  if (inputs.empty()) {
    std::fprintf(stderr, "no corpus: a fuzzer needs seeds in tests/fuzz/corpus/NAME\n");
    return 1;
  }
  const int mutants = Mutants(argc, argv);
  LLVMFuzzerTestOneInput(nullptr, 0);
  std::mt19937_64 random(1);  // the same inputs in every run
  Bytes other;
  for (const auto& path : inputs) {
    // The last line is the input that crashed; the same arguments reach it again.
    std::fprintf(stderr, "%s\n", path.c_str());
    const Bytes bytes = Read(path);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    for (int i = 0; i < mutants; ++i) {
      std::fprintf(stderr, "%s, mutant %d\n", path.c_str(), i);
      Bytes mutant = quorum::testing::Mutate(bytes, other, random);
      mutant.shrink_to_fit();
      LLVMFuzzerTestOneInput(mutant.data(), mutant.size());
    }
    other = bytes;
  }
  std::printf("%zu inputs, %zu mutants\n", inputs.size(), inputs.size() * static_cast<std::size_t>(mutants));
  return 0;
}

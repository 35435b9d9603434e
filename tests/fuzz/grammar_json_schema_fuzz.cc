#include <cstdint>
#include <string_view>

#include "engine/grammar/json_schema.h"
#include "tests/fuzz/grammar_exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  quorum::grammar::Exercise(quorum::grammar::ParseJsonSchema(text, quorum::grammar::JsonSpace::kBounded));
  return 0;
}

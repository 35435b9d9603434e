// POST /v1/embeddings over HTTP, with hidden states {token, position, 1, 0} (openai-conformance.md 72).
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "server/embedding_handler.h"
#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kPath = "/v1/embeddings";

std::vector<double> Expected(const std::vector<int>& ids, bool mean, std::size_t dimensions = 4) {
  std::vector<double> sum(4);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const double row[4] = {static_cast<double>(ids[i]), static_cast<double>(i), 1, 0};
    for (std::size_t d = 0; d < 4; ++d) sum[d] = mean ? sum[d] + row[d] / static_cast<double>(ids.size()) : row[d];
  }
  sum.resize(dimensions);
  double norm = 0;
  for (const double value : sum) norm += value * value;
  for (double& value : sum) value /= std::sqrt(norm);
  return sum;
}

void CheckVector(const json& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t d = 0; d < expected.size(); ++d) CHECK(std::abs(got[d].get<double>() - expected[d]) < 1e-6);
}

TEST_CASE("Embeddings: texts and ids, mean and last, in order, of length 1") {
  TestService server({.engine = {.max_batch = 4, .max_queue = 4, .prefill_chunk = 3}});
  const json one = json::parse(server.Post(kPath, {{"input", "abc"}, {"model", "test/model:1"}}).body);
  CHECK(one["object"] == "list");
  CHECK(one["model"] == "test/model:1");
  CHECK(one["data"][0]["object"] == "embedding");
  CHECK(one["data"][0]["index"] == 0);
  CHECK(one["usage"] == json({{"prompt_tokens", 3}, {"total_tokens", 3}}));
  CheckVector(one["data"][0]["embedding"], Expected({97, 98, 99}, true));

  json many = json::array();
  for (int i = 0; i < 60; ++i)
    many.push_back(std::string(static_cast<std::size_t>(1 + i * 3), static_cast<char>('a' + i % 10)));
  const json all = json::parse(server.Post(kPath, {{"input", many}, {"pooling", "last"}}).body);
  REQUIRE(all["data"].size() == 60);
  for (int i = 0; i < 60; ++i) {
    CHECK(all["data"][static_cast<std::size_t>(i)]["index"] == i);
    CheckVector(all["data"][static_cast<std::size_t>(i)]["embedding"],
                Expected(std::vector<int>(static_cast<std::size_t>(1 + i * 3), 97 + i % 10), false));
  }
  const json ids = json::parse(server.Post(kPath, {{"input", {{1, 2}, {3}}}, {"dimensions", 2}}).body);
  CheckVector(ids["data"][0]["embedding"], Expected({1, 2}, true, 2));
  CheckVector(ids["data"][1]["embedding"], Expected({3}, true, 2));
  CheckVector(json::parse(server.Post(kPath, {{"input", {1, 2}}}).body)["data"][0]["embedding"],
              Expected({1, 2}, true));
  // Control tokens' names are text: "<|im_end|>" is ten bytes.
  CHECK(json::parse(server.Post(kPath, {{"input", "<|im_end|>"}}).body)["usage"]["prompt_tokens"] == 10);
  CHECK(server.model().faults().empty());
}

TEST_CASE("Embeddings of what is cached already are the same") {
  TestService server;
  const std::string text(300, 'x');
  const json first = json::parse(server.Post(kPath, {{"input", text}}).body);
  const json again = json::parse(server.Post(kPath, {{"input", text}}).body);
  CHECK(first["data"] == again["data"]);
  const json last = json::parse(server.Post(kPath, {{"input", text}, {"pooling", "last"}}).body);
  CheckVector(last["data"][0]["embedding"], Expected(std::vector<int>(300, 'x'), false));
}

TEST_CASE("base64 holds the same floats") {
  TestService server;
  CHECK(server::Base64Floats({1.0F, -2.5F}) == "AACAPwAAIMA=");
  const json floats = json::parse(server.Post(kPath, {{"input", "abc"}, {"encoding_format", "float"}}).body);
  const json coded = json::parse(server.Post(kPath, {{"input", "abc"}, {"encoding_format", "base64"}}).body);
  std::vector<float> values;
  for (const json& value : floats["data"][0]["embedding"]) values.push_back(value.get<float>());
  CHECK(coded["data"][0]["embedding"] == server::Base64Floats(values));
}

TEST_CASE("What is wrong with an embedding request is named") {
  TestService server({.context = 64});
  struct Case {
    json body;
    std::string param;
  };
  const auto c = GENERATE(values<Case>({
      {{{"model", "x"}}, "input"},
      {{{"input", ""}}, "input"},
      {{{"input", json::array()}}, "input"},
      {{{"input", {"a", ""}}}, "input"},
      {{{"input", {1, 9999}}}, "input"},
      {{{"input", 5}}, "input"},
      {{{"input", std::string(100, 'x')}}, "input"},
      {{{"input", "a"}, {"dimensions", 0}}, "dimensions"},
      {{{"input", "a"}, {"dimensions", 5}}, "dimensions"},
      {{{"input", "a"}, {"encoding_format", "hex"}}, "encoding_format"},
      {{{"input", "a"}, {"pooling", "max"}}, "pooling"},
  }));
  CAPTURE(c.body.dump());
  const auto response = server.Post(kPath, c.body);
  CHECK(response.status == 400);
  CHECK(json::parse(response.body)["error"]["param"] == c.param);
}

}  // namespace
}  // namespace quorum::test

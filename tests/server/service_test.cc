// What holds for every route: readiness, keys, origins, methods, metrics; and clients that leave, wait or come too
// many.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/expert_handler.h"
#include "server/listen_socket.h"
#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

using server::Fetch;
using server::RawClient;
using server::RawResponse;
using server::RequestText;
using std::chrono::milliseconds;

const std::string kChat = "/v1/chat/completions";

std::string ChatText(const json& extra = json::object()) {
  return RequestText("POST", kChat, TestService::ChatBody(extra).dump(), "Content-Type: application/json\r\n");
}

TEST_CASE("Models are listed and found by name, however the name is encoded") {
  TestService server;
  const json list = json::parse(server.Get("/v1/models").body);
  CHECK(list["object"] == "list");
  REQUIRE(list["data"].size() == 1);
  const json& model = list["data"][0];
  CHECK(model["id"] == "test/model:1");
  CHECK(model["object"] == "model");
  CHECK(model["created"] == 1234567);
  CHECK(model["owned_by"] == "quorum");
  for (const char* path :
       {"/v1/models/default", "/v1/models/test/model:1", "/v1/models/test%2Fmodel%3A1", "/v1/models/test%2fmodel:1"}) {
    CHECK(json::parse(server.Get(path).body) == model);
  }
  const auto missing = server.Get("/v1/models/other");
  CHECK(missing.status == 404);
  CHECK(json::parse(missing.body)["error"]["code"] == "model_not_found");
}

TEST_CASE("Unknown paths and wrong methods are JSON; OPTIONS is answered") {
  TestService server;
  for (const char* path :
       {"/v1", "/chat/completions", "/v1/models/", "/health/", "/v1/chat/completions/x", "/%2e%2e/etc"}) {
    const auto response = server.Get(path);
    CHECK(response.status == 404);
    CHECK(json::parse(response.body)["error"]["type"] == "not_found_error");
  }
  const auto wrong = server.Get(kChat);
  CHECK(wrong.status == 405);
  CHECK(wrong.Header("allow") == "POST");
  CHECK(json::parse(wrong.body)["error"]["code"] == "method_not_allowed");
  CHECK(server.Post("/health", json::object()).status == 405);
  CHECK(Fetch(server.port(), "DELETE", "/v1/models").status == 405);

  const auto options = Fetch(server.port(), "OPTIONS", kChat);
  CHECK(options.status == 204);
  CHECK(options.Header("allow") == "POST, OPTIONS");
  CHECK(options.Header("access-control-allow-origin").empty());
  CHECK(options.Header("content-length").empty());
}

TEST_CASE("The page needs nothing from elsewhere") {
  TestService server;
  const auto page = server.Get("/");
  CHECK(page.status == 200);
  CHECK(page.Header("content-type") == "text/html; charset=utf-8");
  CHECK(page.Header("content-security-policy").find("default-src 'none'") == 0);
  for (const char* path :
       {"/", "/page/page.css", "/page/chat.js", "/page/experts.js", "/page/tokens.js", "/page/markdown.js"}) {
    const auto file = server.Get(path);
    CAPTURE(path);
    CHECK(file.status == 200);
    CHECK(file.body.size() > 500);
    for (const char* foreign : {"http://", "https://", "src=\"//", "@import", "url("}) {
      CHECK(file.body.find(foreign) == std::string::npos);
    }
  }
  CHECK(server.Get("/page/../etc/passwd").status == 404);
  CHECK(Fetch(server.port(), "HEAD", "/").Header("content-length") == std::to_string(page.body.size()));
}

TEST_CASE("Keys: a right one opens, nothing else does, health and the page are public, bodies are not parsed before") {
  auto keys = server::ApiKeys::FromText("# ours\n\n  first-key  \r\nsecond_key\n", "keys");
  REQUIRE(keys.ok());
  TestServiceOptions options;
  options.service.keys = *keys;
  TestService server(std::move(options));
  for (const char* good : {"Bearer first-key", "bearer first-key", "BEARER  second_key"}) {
    CHECK(server.Get("/v1/models", std::string("Authorization: ") + good + "\r\n").status == 200);
  }
  for (const char* bad : {"Bearer first-ke", "Bearer first-keyy", "Bearer", "Bearer ", "Basic first-key", "first-key",
                          "Bearer # ours", "Bearer first-key second_key"}) {
    const auto response = server.Get("/v1/models", std::string("Authorization: ") + bad + "\r\n");
    CHECK(response.status == 401);
    CHECK(json::parse(response.body)["error"]["code"] == "invalid_api_key");
    CHECK(response.Header("www-authenticate") == "Bearer");
  }
  CHECK(server.PostText(kChat, "{broken").status == 401);
  CHECK(server.Get("/metrics").status == 401);
  CHECK(server.Get("/nowhere").status == 401);
  CHECK(server.Get("/health").status == 200);
  CHECK(server.Get("/").status == 200);

  CHECK_FALSE(server::ApiKeys::FromText("# nothing\n", "keys").ok());
  const auto spaced = server::ApiKeys::FromText("fine\ntwo words\n", "keys");
  REQUIRE_FALSE(spaced.ok());
  CHECK(spaced.error().message.find("keys:2") == 0);
  CHECK_FALSE(server::ApiKeys::FromFile("/nonexistent/keys").ok());
  for (const char* path : {"/", "/dev/zero", "/proc/self/mem"}) CHECK_FALSE(server::ApiKeys::FromFile(path).ok());
  CHECK(server::ApiKeys::FromText(std::string(1024, 'k'), "keys").ok());
  CHECK_FALSE(server::ApiKeys::FromText(std::string(1025, 'k'), "keys").ok());
}

TEST_CASE("Pages of other origins are let in only when asked for") {
  TestService closed;
  CHECK(closed.Post(kChat, TestService::ChatBody(), "Origin: https://evil.example\r\n").status == 403);
  CHECK(closed.Post(kChat, TestService::ChatBody(), "Origin: null\r\n").status == 403);
  const auto own = closed.Post(kChat, TestService::ChatBody(), "Origin: http://test\r\n");  // the Host of these tests
  CHECK(own.status == 200);
  CHECK(own.Header("access-control-allow-origin").empty());

  TestServiceOptions options;
  options.service.cors_origins = {"https://app.example", "app://.", "vscode-webview://0abc"};
  TestService open(std::move(options));
  const auto answer = open.Post(kChat, TestService::ChatBody(), "Origin: https://app.example\r\n");
  CHECK(answer.status == 200);
  CHECK(answer.Header("access-control-allow-origin") == "https://app.example");
  CHECK(answer.Header("vary") == "Origin");
  CHECK(open.Post(kChat, TestService::ChatBody(), "Origin: vscode-webview://0abc\r\n")
            .Header("access-control-allow-origin") == "vscode-webview://0abc");
  const auto refused = open.Post(kChat, TestService::ChatBody(), "Origin: https://evil.example\r\n");
  CHECK(refused.status == 403);
  CHECK(refused.Header("access-control-allow-origin").empty());
  CHECK(refused.Header("vary") == "Origin");
  const auto preflight = Fetch(open.port(), "OPTIONS", kChat, "", "Origin: https://app.example\r\n");
  CHECK(preflight.status == 204);
  CHECK(preflight.Header("access-control-allow-headers").find("Authorization") != std::string::npos);
}

TEST_CASE("A name that was pointed at this machine makes no page one of ours") {
  const auto status = [](TestServiceOptions options, const std::string& host, const std::string& origin) {
    const TestService server(std::move(options));
    RawClient client(server.port());
    const std::string body = TestService::ChatBody({{"max_tokens", 1}}).dump();
    client.Send("POST " + kChat + " HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + origin +
                "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.Read().status;
  };
  TestServiceOptions local;
  local.service.only_local = true;
  for (const char* host : {"localhost:8080", "LOCALHOST", "app.localhost:1", "localhost.:80", "127.0.0.1:8080",
                           "192.168.1.5:8080", "[::1]:8080"}) {
    CAPTURE(host);
    CHECK(status(local, host, std::string("http://") + host) == 200);
  }
  for (const char* host : {"evil.example:8080", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example",
                           "1.2.3", "127.1", "evil.example"}) {
    CAPTURE(host);
    CHECK(status(local, host, std::string("http://") + host) == 403);
  }
  TestServiceOptions named = local;
  named.service.cors_origins = {"https://chat.example"};
  CHECK(status(named, "chat.example", "https://chat.example") == 200);
  TestServiceOptions everywhere;
  CHECK(status(everywhere, "chat.example", "https://chat.example") == 200);
  for (const char* host : {"127.0.0.1", "127.8.8.8", "::1", "localhost"}) CHECK(server::IsLoopback(host));
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "example.org", ""}) CHECK_FALSE(server::IsLoopback(host));
}

TEST_CASE("Health: loading, then ok, then draining; work is refused with 503 and retry-after meanwhile") {
  TestServiceOptions options;
  options.load_now = false;
  TestService server(std::move(options));
  auto health = server.Get("/health");
  CHECK(health.status == 503);
  CHECK(json::parse(health.body)["status"] == "loading");
  auto early = server.Post(kChat, TestService::ChatBody());
  CHECK(early.status == 503);
  CHECK(json::parse(early.body)["error"]["code"] == "model_loading");
  CHECK(early.Header("retry-after") == "2");
  CHECK(early.Header("retry-after-ms") == "2000");
  CHECK(server.Get("/metrics").status == 200);

  server.Load();
  CHECK(server.Get("/health").status == 200);
  CHECK(server.Post(kChat, TestService::ChatBody()).status == 200);

  server.service().StartDraining();
  health = server.Get("/health");
  CHECK(health.status == 503);
  CHECK(json::parse(health.body)["status"] == "draining");
  const auto late = server.Post(kChat, TestService::ChatBody());
  CHECK(late.status == 503);
  CHECK(late.Header("retry-after") == "2");
  CHECK(server.Get("/v1/models").status == 200);
}

TEST_CASE("Draining lets what runs finish, and cuts it with an error when time is up") {
  TestService server;
  server.hold = true;
  RawClient stream(server.port());
  stream.Send(ChatText({{"stream", true}}));
  REQUIRE(Eventually([&] { return server.steps > 0; }));
  server.service().StartDraining();
  bool drained = false;  // Catch's checks belong to one thread
  std::thread drain([&] { drained = server.engine().Drain(milliseconds(10'000)); });
  server.hold = false;
  const EventStream events = ParseEvents(stream.Read().body);
  CHECK(events.done);
  drain.join();
  CHECK(drained);

  TestService hasty;
  hasty.hold = true;
  RawClient cut(hasty.port()), whole(hasty.port());
  cut.Send(ChatText({{"stream", true}}));
  whole.Send(ChatText());
  REQUIRE(Eventually([&] { return hasty.steps > 0 && hasty.engine().Stats().requests == 2; }));
  std::thread release([&] {
    std::this_thread::sleep_for(milliseconds(100));
    hasty.hold = false;
  });
  CHECK_FALSE(hasty.engine().Drain(milliseconds(1)));
  release.join();
  const EventStream ended = ParseEvents(cut.Read().body);
  CHECK_FALSE(ended.done);
  REQUIRE_FALSE(ended.events.empty());
  CHECK(ended.events.back().contains("error"));
  CHECK(whole.Read().status == 503);
}

TEST_CASE("While a prompt waits or is computed, a stream's head is out at once and comments keep it alive") {
  TestServiceOptions options;
  options.service.heartbeat = milliseconds(60);
  options.engine.max_batch = 1;
  TestService server(std::move(options));
  server.hold = true;
  RawClient running(server.port()), queued(server.port());
  running.Send(ChatText({{"stream", true}}));
  REQUIRE(Eventually([&] { return server.steps > 0; }));
  queued.Send(ChatText({{"stream", true}}));
  REQUIRE(Eventually([&] { return server.engine().Stats().requests == 2; }));
  RawClient last(server.port());
  last.Send(RequestText("POST", "/v1/completions", R"({"prompt": ["a", "b"], "stream": true, "max_tokens": 2})",
                        "Content-Type: application/json\r\n"));
  const std::vector<std::pair<RawClient*, std::string>> expected = {
      {&running, ": ping\n\n"}, {&queued, ": queued, 0 ahead\n\n"}, {&last, ": queued, 1 ahead\n\n"}};
  for (const auto& [client, comment] : expected) {
    CHECK(client->ReadUntil("\r\n\r\n"));
    CHECK(client->ReadUntil(comment));
    CHECK(client->pending().find("data:") == std::string::npos);
  }
  CHECK(server.Get("/health").status == 200);  // no step is needed for it
  CHECK(server.Get("/metrics").body.find("quorum_running_sequences 1") != std::string::npos);
  server.hold = false;
  for (RawClient* client : {&running, &queued, &last}) {
    const EventStream events = ParseEvents(client->Read().body);
    CHECK(events.done);
    CHECK(events.ordered);
    CHECK(events.comments > 0);
  }
}

TEST_CASE("A client that leaves frees its sequence: queued or running, streamed or not") {
  TestServiceOptions options;
  options.engine.max_batch = 1;
  options.reply = "abcdefghijklmnopqrstuvwxyz";
  TestService server(std::move(options));
  const bool stream = GENERATE(false, true);
  const bool reset = GENERATE(false, true);
  CAPTURE(stream, reset);
  server.hold = true;
  RawClient running(server.port()), queued(server.port());
  running.Send(ChatText({{"stream", stream}}));
  REQUIRE(Eventually([&] { return server.steps > 0; }));
  queued.Send(ChatText({{"stream", stream}}));
  REQUIRE(Eventually([&] { return server.engine().Stats().requests == 2; }));
  for (RawClient* client : {&queued, &running}) reset ? client->Reset() : client->Close();
  std::this_thread::sleep_for(milliseconds(150));  // longer than a client may go unwatched
  server.hold = false;                             // the step that was under way ends
  CHECK(Eventually([&] { return server.engine().Stats().cancelled == 2; }));
  const auto stats = server.engine().Stats();
  CHECK(stats.running == 0);
  CHECK(stats.waiting == 0);
  CHECK(server.steps == 1);
  CHECK(server.Post(kChat, TestService::ChatBody()).status == 200);
}

TEST_CASE("A client that half closes its side is answered to the end, streamed or not") {
  TestServiceOptions options;
  options.reply = "abcdefghijklmnopqrstuvwxyz";
  TestService server(std::move(options));
  const bool stream = GENERATE(false, true);
  CAPTURE(stream);
  server.hold = true;
  RawClient client(server.port());
  client.Send(ChatText({{"stream", stream}}));
  REQUIRE(Eventually([&] { return server.steps > 0; }));
  client.HalfClose();
  std::this_thread::sleep_for(milliseconds(100));
  server.hold = false;
  const auto response = client.Read();
  REQUIRE(response.status == 200);
  if (stream) {
    CHECK(ParseEvents(response.body).done);
  } else {
    CHECK(json::parse(response.body)["choices"][0]["message"]["content"] == "abcdefghijklmnopqrstuvwxyz");
  }
  CHECK(server.engine().Stats().cancelled == 0);
}

TestServiceOptions OneAtATime(std::int32_t queue) {
  TestServiceOptions options;
  options.engine.max_batch = 1;
  options.engine.max_queue = queue;
  return options;
}

TEST_CASE("Each choice of a request takes a place in the queue") {
  TestService server(OneAtATime(3));
  server.hold = true;
  RawClient one(server.port());
  one.Send(ChatText());
  REQUIRE(Eventually([&] { return server.steps > 0; }));
  RawClient four(server.port());
  four.Send(ChatText({{"n", 4}}));
  REQUIRE(Eventually([&] { return server.engine().Stats().requests == 2; }));
  CHECK(server.Post(kChat, TestService::ChatBody()).status == 429);
  server.hold = false;
  CHECK(one.Read().status == 200);
  const auto all = four.Read();
  CHECK(all.status == 200);
  CHECK(json::parse(all.body)["choices"].size() == 4);
  CHECK(server.Post(kChat, TestService::ChatBody()).status == 200);
}

TEST_CASE("A full queue is 429 with retry-after, and does not harm those inside") {
  TestService server(OneAtATime(1));
  server.hold = true;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    clients.back()->Send(ChatText());
    REQUIRE(Eventually([&] { return server.engine().Stats().requests == i + 1 && server.steps > 0; }));
  }
  for (const bool stream : {false, true}) {
    const auto refused = server.Post(kChat, TestService::ChatBody({{"stream", stream}}));
    CHECK(refused.status == 429);
    const json error = json::parse(refused.body)["error"];
    CHECK(error["code"] == "rate_limit_exceeded");
    CHECK(error["type"] == "rate_limit_error");
    const int seconds = std::stoi(refused.Header("retry-after"));
    CHECK(seconds >= 1);
    CHECK(seconds <= 120);
    CHECK(std::stoi(refused.Header("retry-after-ms")) <= seconds * 1000);
  }
  server.hold = false;
  for (auto& client : clients) CHECK(client->Read().status == 200);
}

TEST_CASE("A reader that never reads is cut off and its sequence freed; others go on") {
  TestServiceOptions options;
  options.http.write_timeout = milliseconds(200);
  options.http.send_buffer = 4096;
  options.reply = "";
  for (int i = 0; i < 900; ++i) options.reply += std::to_string(1000 + i);
  options.context = 8000;
  TestService server(std::move(options));
  server.model().before_step = [](std::span<const engine::StepSlice>) -> Status {
    std::this_thread::sleep_for(milliseconds(2));  // or the engine is done before the buffers are full
    return {};
  };
  RawClient slow(server.port(), 2048);
  slow.Send(ChatText({{"stream", true}, {"logprobs", true}, {"top_logprobs", 20}}));
  const json other = json::parse(server.Post(kChat, TestService::ChatBody({{"max_tokens", 50}})).body);
  CHECK(other["usage"]["completion_tokens"] == 50);
  CHECK(Eventually([&] { return server.engine().Stats().cancelled == 1; }));
}

TEST_CASE("Metrics are in Prometheus' text form and count what happened") {
  TestService server;
  server.Post(kChat, TestService::ChatBody());
  server.PostText(kChat, "{");
  server.Get("/evil\"path");
  const auto response = server.Get("/metrics");
  CHECK(response.Header("content-type").find("text/plain; version=0.0.4") == 0);
  for (const char* line :
       {"quorum_http_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1",
        "quorum_http_requests_total{route=\"/v1/chat/completions\",status=\"400\"} 1",
        "quorum_http_requests_total{route=\"other\",status=\"404\"} 1", "quorum_generations_total 1",
        "quorum_generations_finished_total 1", "quorum_prompt_tokens_total 21", "quorum_generated_tokens_total 10",
        "quorum_running_sequences 0", "quorum_kv_pages 256", "quorum_time_to_first_token_seconds_count 1",
        "quorum_inter_token_seconds_count 9", "quorum_generation_seconds_count 1", "quorum_queue_seconds_count 1",
        "quorum_steps_total 10", "quorum_step_rows_sum{kind=\"decode\"} 9", "quorum_step_rows_sum{kind=\"prefill\"} 21",
        "quorum_step_rows_count{kind=\"prefill\"} 10"}) {
    CAPTURE(line);
    CHECK(response.body.find(std::string(line) + "\n") != std::string::npos);
  }
}

TEST_CASE("Keys: hashed ones, and limits of requests and tokens") {
  auto keys = server::ApiKeys::FromText(
      "first name=ann concurrent=1\nsha256:16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4 "
      "tokens-per-minute=15  # printf second | sha256sum\n",
      "keys");
  CHECK_FALSE(keys.ok());  // '#' begins a comment only at the start of a line
  keys = server::ApiKeys::FromText(
      "first name=ann concurrent=1\nsha256:16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4 "
      "tokens-per-minute=15\n",
      "keys");
  REQUIRE(keys.ok());
  TestServiceOptions options;
  options.service.keys = *keys;
  TestService server(std::move(options));
  const std::string first = "Authorization: Bearer first\r\n", second = "Authorization: Bearer second\r\n";
  server.hold = true;
  RawClient running(server.port());
  running.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + first + "Content-Length: " +
               std::to_string(TestService::ChatBody().dump().size()) + "\r\n\r\n" + TestService::ChatBody().dump());
  REQUIRE(Eventually([&] { return server.steps > 0; }));
  const auto busy = server.Post(kChat, TestService::ChatBody(), first);
  CHECK(busy.status == 429);
  CHECK(busy.Header("retry-after") == "1");
  CHECK(json::parse(busy.body)["error"]["code"] == "rate_limit_exceeded");
  CHECK(json::parse(busy.body)["error"]["message"].get<std::string>().find("1 request at a time") != std::string::npos);
  server.hold = false;
  CHECK(running.Read().status == 200);
  CHECK(Eventually([&] { return server.Post(kChat, TestService::ChatBody(), first).status == 200; }));

  // More tokens than 15 that are not cached: the account is below zero, and waits a minute and more.
  const json other =
      TestService::ChatBody({{"messages", {{{"role", "user"}, {"content", "Something else altogether"}}}}});
  CHECK(server.Post(kChat, other, second).status == 200);
  const auto spent = server.Post(kChat, TestService::ChatBody(), second);
  CHECK(spent.status == 429);
  CHECK(json::parse(spent.body)["error"]["message"].get<std::string>().find("15 tokens a minute") != std::string::npos);
  CHECK(std::stoi(spent.Header("retry-after")) > 20);
  CHECK(std::stoi(spent.Header("retry-after")) <= 120);
  CHECK(server.Get("/v1/models", second).status == 200);
  for (const char* bad : {"key colour=red", "key concurrent=0", "key concurrent=x", "sha256:12", "key name=",
                          "second\nsha256:16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4"}) {
    CHECK_FALSE(server::ApiKeys::FromText(bad, "keys").ok());
  }
}

TEST_CASE("A key pays for tokens also when its client leaves before the end") {
  auto keys = server::ApiKeys::FromText("first concurrent=1 tokens-per-minute=60\n", "keys");
  REQUIRE(keys.ok());
  TestServiceOptions options;
  options.service.keys = *keys;
  TestService server(std::move(options));
  const std::string key = "Authorization: Bearer first\r\n";
  const std::string body = TestService::ChatBody({{"stream", true}, {"ignore_eos", true}, {"max_tokens", 1500}}).dump();
  RawClient leaves(server.port());
  leaves.Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + key +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  REQUIRE(Eventually([&] { return server.steps > 80; }));
  leaves.Close();
  bool served = false;
  CHECK(Eventually([&] {  // first it is busy
    const auto next = server.Post(kChat, TestService::ChatBody(), key);
    served = served || next.status == 200;
    return next.body.find("60 tokens a minute") != std::string::npos;
  }));
  CHECK_FALSE(served);
}

TEST_CASE("A strict server refuses what it would ignore or lower, before anything is computed") {
  TestServiceOptions options;
  options.service.strict = true;
  TestService server(std::move(options));
  struct Case {
    std::string path;
    json body;
    std::string param;
  };
  for (const Case& c : {Case{kChat, TestService::ChatBody({{"user", "me"}}), "user"},
                        Case{kChat, TestService::ChatBody({{"max_tokens", 100000}}), "max_tokens"},
                        Case{"/v1/completions", {{"prompt", "x"}, {"user", "me"}}, "user"},
                        Case{"/v1/completions", {{"prompt", "x"}, {"max_tokens", 100000}}, "max_tokens"},
                        Case{"/v1/embeddings", {{"input", "x"}, {"user", "me"}}, "user"},
                        Case{"/v1/responses", {{"input", "x"}, {"user", "me"}}, "user"},
                        Case{"/tokenize", {{"prompt", "x"}, {"user", "me"}}, "user"}}) {
    CAPTURE(c.path, c.body.dump());
    const auto response = server.Post(c.path, c.body);
    CHECK(response.status == 400);
    CHECK(json::parse(response.body)["error"]["code"] == "field_not_honoured");
    CHECK(json::parse(response.body)["error"]["param"] == c.param);
  }
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}) {
    const auto response =
        server.Post(path, TestService::ChatBody({{"model", "gpt-9"}, {"prompt", "x"}, {"input", "x"}}));
    CHECK(response.status == 404);
    CHECK(json::parse(response.body)["error"]["code"] == "model_not_found");
  }
  CHECK(server.steps == 0);
  CHECK(server.Post(kChat, TestService::ChatBody()).status == 200);
  TestService lenient;
  CHECK(lenient.Post(kChat, TestService::ChatBody({{"max_tokens", 100000}})).Header("x-quorum-clamped") ==
        "max_tokens");
}

TEST_CASE("Liveness, readiness, experts and templates") {
  TestService server({.load_now = false});
  CHECK(server.Get("/livez").status == 200);
  CHECK(server.Get("/readyz").status == 503);
  server.Load();
  CHECK(server.Get("/readyz").status == 200);
  const json experts = json::parse(server.Get("/v1/experts").body);
  CHECK(experts["layers"] == 0);
  const auto applied = server.Post("/apply-template", TestService::ChatBody());
  CHECK(json::parse(applied.body)["prompt"] == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("A layer's spread: entropy in bits, and the busiest expert against the mean") {
  engine::ExpertStats stats{2, 4, {5, 5, 5, 5, 0, 0, 0, 0}, std::vector<double>(8), std::vector<std::uint64_t>(8)};
  CHECK(server::SpreadOf(stats, 0).entropy == 2.0);
  CHECK(server::SpreadOf(stats, 0).balance == 1.0);
  CHECK_FALSE(server::SpreadOf(stats, 1).any);
  stats.tokens = {8, 0, 0, 0, 0, 0, 0, 0};
  CHECK(server::SpreadOf(stats, 0).entropy == 0.0);
  CHECK(server::SpreadOf(stats, 0).balance == 4.0);
  stats.steps = {3, 0, 0, 0, 0, 0, 0, 0};
  server::Metrics::Model model{{}, stats, engine::BytesRead{5000, 700}};
  model.engine.decode_rows.Add(0);
  model.engine.decode_rows.Add(3);
  model.engine.prefill_rows.Add(1);
  model.engine.prefill_rows.Add(100'000);
  model.engine.busy_seconds = 2.5;
  const std::string text = server::Metrics().Text(&model);
  for (const char* line :
       {"quorum_expert_steps_total{expert=\"0\",layer=\"0\"} 3", "quorum_weight_bytes_read_total 5000",
        "quorum_kv_bytes_read_total 700", "quorum_read_bytes_per_second 2280", "quorum_busy_seconds_total 2.5",
        "quorum_step_rows_count{kind=\"decode\"} 2", "quorum_step_rows_sum{kind=\"decode\"} 3",
        "quorum_step_rows_bucket{kind=\"decode\",le=\"0\"} 1", "quorum_step_rows_bucket{kind=\"decode\",le=\"2\"} 1",
        "quorum_step_rows_bucket{kind=\"decode\",le=\"4\"} 2", "quorum_step_rows_bucket{kind=\"prefill\",le=\"1\"} 1",
        "quorum_step_rows_bucket{kind=\"prefill\",le=\"2048\"} 1",
        "quorum_step_rows_bucket{kind=\"prefill\",le=\"+Inf\"} 2"}) {
    CAPTURE(line);
    CHECK(text.find(std::string(line) + "\n") != std::string::npos);
  }
  CHECK(text.find("quorum_expert_tokens_total{expert=\"0\",layer=\"0\"} 8") != std::string::npos);
  CHECK(text.find("quorum_expert_entropy_bits{layer=\"0\"} 0") != std::string::npos);
  CHECK(text.find("layer=\"1\"") == std::string::npos);
}

}  // namespace
}  // namespace quorum::test

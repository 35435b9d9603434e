// Every attack of research/style.md B1 over raw sockets, and the plain good behaviour beside it.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/http_server.h"
#include "tests/support/catch.h"
#include "tests/support/raw_client.h"

namespace quorum::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// A server that answers /echo with the body, /hello with a word, /gone once the client left, /stream with lines.
class Probe {
 public:
  explicit Probe(HttpServerOptions options = {}) {
    options.port = 0;
    auto server = HttpServer::Start(options, [this](HttpRequest& request) { return Handle(request); });
    REQUIRE(server.ok());
    server_ = std::move(*server);
  }
  int port() const { return server_->port(); }
  HttpServer& server() { return *server_; }

  std::atomic<int> handled{0};
  std::atomic<int> gone{0};
  std::atomic<int> cut{0};
  std::atomic<bool> release{false};

 private:
  HttpResponse Handle(HttpRequest& request) {
    ++handled;
    HttpResponse response;
    if (request.path == "/echo") {
      auto body = request.read_body();
      response.body = body.ok() ? *body : body.error().message;
      if (!body.ok()) response.status = HttpStatus(body.error().code);
    } else if (request.path == "/gone") {
      while (!request.client_gone() && !release) std::this_thread::sleep_for(milliseconds(5));
      if (!release) ++gone;
    } else if (request.path == "/stream") {
      response.content_type = "text/event-stream";
      response.stream = [this](StreamWriter& out) {
        const std::string line(4096, 'x');
        while (!release) {
          if (out.ClientGone()) break;
          if (!out.Write(line)) {
            ++cut;
            break;
          }
        }
        ++gone;
      };
    } else if (request.path == "/three") {
      response.stream = [](StreamWriter& out) {
        for (const char* word : {"one", "two", "three"}) out.Write(word);
      };
    } else if (request.path == "/throw") {
      throw std::runtime_error("secret detail");
    } else {
      response.body = request.path;
    }
    return response;
  }

  std::unique_ptr<HttpServer> server_;
};

bool Eventually(const std::atomic<int>& count, int wanted) {
  for (int i = 0; i < 2000 && count < wanted; ++i) std::this_thread::sleep_for(milliseconds(5));
  return count >= wanted;
}

TEST_CASE("Requests and answers go through whole, one after the other on one connection") {
  Probe probe;
  RawClient client(probe.port());
  for (const std::string body : {"first", "second", "a third"}) {
    REQUIRE(client.Send(RequestText("POST", "/echo", body)));
    const auto response = client.Read();
    CHECK(response.status == 200);
    CHECK(response.body == body);
    CHECK(response.whole);
  }
  client.Send(RequestText("GET", "/hello%20there?x=%zz"));
  CHECK(client.Read().body == "/hello there");
}

TEST_CASE("Pipelined requests are all answered, in order") {
  Probe probe;
  RawClient client(probe.port());
  client.Send(RequestText("GET", "/a") + RequestText("POST", "/echo", "b") + RequestText("GET", "/c"));
  CHECK(client.Read().body == "/a");
  CHECK(client.Read().body == "b");
  CHECK(client.Read().body == "/c");
}

TEST_CASE("A request may come a byte at a time, and its writer may half close") {
  Probe probe;
  RawClient client(probe.port());
  for (const char c : RequestText("POST", "/echo", "slow")) client.Send(std::string_view(&c, 1));
  CHECK(client.Read().body == "slow");
  client.Send(RequestText("GET", "/half"));
  client.HalfClose();
  CHECK(client.Read().body == "/half");
}

TEST_CASE("Connection: close and HTTP/1.0 are obeyed") {
  Probe probe;
  RawClient closing(probe.port());
  closing.Send(RequestText("GET", "/x", "", "Connection: close\r\n"));
  CHECK(closing.Read().Header("connection") == "close");
  CHECK(closing.ClosedWithin(5000));

  RawClient old(probe.port());
  old.Send("GET /old HTTP/1.0\r\n\r\n");
  CHECK(old.Read().body == "/old");
  CHECK(old.ClosedWithin(5000));

  RawClient old_stream(probe.port());  // no chunks for HTTP/1.0: the answer ends with the connection
  old_stream.Send("GET /three HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto response = old_stream.Read();
  CHECK(response.Header("transfer-encoding").empty());
  CHECK(response.body == "onetwothree");
  CHECK(old_stream.ClosedWithin(5000));
}

TEST_CASE("HEAD has the head of GET and no body") {
  Probe probe;
  RawClient client(probe.port());
  client.Send(RequestText("HEAD", "/hello"));
  const auto head = client.Read(true);
  CHECK(head.status == 200);
  CHECK(head.Header("content-length") == "6");
  client.Send(RequestText("GET", "/next"));
  CHECK(client.Read().body == "/next");
}

TEST_CASE("Every answer has an x-request-id: the client's own if it is harmless") {
  Probe probe;
  CHECK(Fetch(probe.port(), "GET", "/", "", "X-Request-Id: my-id_7\r\n").Header("x-request-id") == "my-id_7");
  const std::string other = "00-4bf92f:job.7/step+2=~@x";
  CHECK(Fetch(probe.port(), "GET", "/", "", "X-Request-Id: " + other + "\r\n").Header("x-request-id") == other);
  const std::vector<std::string> harmful = {"spaced out", "semi;colon", "%0d%0aSet-Cookie", std::string(129, 'a')};
  for (const std::string& bad : harmful) {
    const auto id = Fetch(probe.port(), "GET", "/", "", "X-Request-Id: " + bad + "\r\n").Header("x-request-id");
    CHECK(id.substr(0, 4) == "req_");
    CHECK(id.size() == 28);
  }
  CHECK(Fetch(probe.port(), "GET", "/", "", "Bad Header: x\r\n").Header("x-request-id").substr(0, 4) == "req_");
}

TEST_CASE("An exception becomes a 500 in OpenAI's shape that tells nothing of it") {
  Probe probe;
  const auto response = Fetch(probe.port(), "GET", "/throw");
  CHECK(response.status == 500);
  CHECK(response.body.find("secret") == std::string::npos);
  CHECK(response.body.find("\"type\":\"server_error\"") != std::string::npos);
  CHECK(response.Header("exception_what").empty());
  CHECK(response.Header("x-should-retry") == "false");
}

TEST_CASE("What is malformed or ambiguous is refused and never handled") {
  Probe probe;
  const auto [text, status] = GENERATE(table<std::string, int>({
      {"GET / HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET /\r\nHost: a\r\n\r\n", 400},
      {"GET  / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /%0 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"\x16\x03\x01\x02", 400},                            // TLS hello
      {"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400},  // space before colon
      {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400},          // bare LF
      {"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n", 400},  // bare CR
      {"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\nx", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", 415},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", 415},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\nContent-Length: 1\r\n\r\nx", 417},
      {"HEAD /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 400},
  }));
  CAPTURE(text);
  RawClient client(probe.port());
  client.Send(text + RequestText("GET", "/smuggled"));
  const auto response = client.Read();
  CHECK(response.status == status);
  CHECK(response.Header("connection") == "close");
  CHECK(response.Header("x-request-id").size() == 28);
  CHECK(response.body.find("{\"error\":{\"message\":\"") == 0);
  CHECK(client.ClosedWithin(5000));
  CHECK(client.pending().empty());
  CHECK(probe.handled == 0);
}

TEST_CASE("Heads are bounded in bytes, in their first line and in their headers, also when they never end") {
  Probe probe;
  RawClient line(probe.port());
  line.Send("GET /" + std::string(10000, 'a'));  // no end: decided without it
  CHECK(line.Read().status == 414);

  RawClient endless(probe.port());
  endless.Send("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(40000, 'a'));
  CHECK(endless.Read().status == 431);

  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 101; ++i) many += "A: b\r\n";
  RawClient headers(probe.port());
  headers.Send(many);  // no blank line yet
  CHECK(headers.Read().status == 431);
  CHECK(probe.handled == 0);

  std::string most = "GET /fine HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 99; ++i) most += "A: b\r\n";
  RawClient fits(probe.port());
  fits.Send(most + "\r\n");
  CHECK(fits.Read().body == "/fine");
}

TEST_CASE("Bodies are bounded whichever way they are delimited, and what is left of them is never run") {
  HttpServerOptions options;
  options.body.max_bytes = 1000;
  Probe probe(options);
  const std::string smuggled = RequestText("GET", "/smuggled");

  RawClient length(probe.port());
  length.Send(RequestText("POST", "/echo", std::string(1001, 'x')) + smuggled);
  auto response = length.Read();
  CHECK(response.status == 413);
  CHECK(response.Header("connection") == "close");
  CHECK(length.ClosedWithin(5000));
  CHECK(length.pending().empty());

  RawClient chunked(probe.port());
  std::string text = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) text += "64\r\n" + std::string(100, 'x') + "\r\n";
  chunked.Send(text + "0\r\n\r\n" + smuggled);
  response = chunked.Read();
  CHECK(response.status == 413);
  CHECK(chunked.ClosedWithin(5000));
  CHECK(chunked.pending().empty());

  RawClient huge(probe.port());  // refused by its announced size: the body is not waited for
  huge.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\nxxxx");
  CHECK(huge.Read().status == 413);
  CHECK(probe.handled == 3);

  CHECK(Fetch(probe.port(), "POST", "/echo", std::string(1000, 'y')).body == std::string(1000, 'y'));
}

TEST_CASE("An unread body ends the connection; one that was collected already is dropped and the connection lives") {
  HttpServerOptions options;
  options.poller.body_ahead = 100;
  Probe probe(options);
  RawClient unread(probe.port());  // /nobody never reads its body: those bytes are a request in disguise
  const std::string smuggled = RequestText("GET", "/smuggled");
  unread.Send("POST /nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + smuggled);
  auto response = unread.Read();
  CHECK(response.status == 200);
  CHECK(response.Header("connection") == "close");
  CHECK(unread.ClosedWithin(5000));
  CHECK(unread.pending().empty());
  CHECK(probe.handled == 1);

  RawClient collected(probe.port());
  collected.Send(RequestText("POST", "/nobody", smuggled));
  CHECK(collected.Read().body == "/nobody");
  collected.Send(RequestText("GET", "/next"));
  CHECK(collected.Read().body == "/next");
  CHECK(probe.handled == 3);
}

TEST_CASE("Chunked bodies: sizes are hex digits only, extensions and trailers are read over, nothing grows") {
  Probe probe;
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  RawClient good(probe.port());
  good.Send(head + "3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n" + RequestText("GET", "/next"));
  CHECK(good.Read().body == "abc0123456789");
  CHECK(good.Read().body == "/next");

  for (const std::string bad : {"0x3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n",
                                "-3\r\nabc\r\n", "\r\nabc\r\n", "zz\r\n", "3\r\nabcd\r\n0\r\n\r\n",
                                "fffffffffffffffff\r\nabc", "3;a\nb\r\nabc\r\n0\r\n\r\n", "3\nabc\n0\n\n"}) {
    CAPTURE(bad);
    RawClient client(probe.port());
    client.Send(head + bad + std::string(300, 'z') + RequestText("GET", "/smuggled"));
    const auto response = client.Read();
    CHECK(response.status == 400);
    CHECK(response.Header("connection") == "close");
    CHECK(client.ClosedWithin(5000));
    CHECK(client.pending().empty());
  }
  RawClient endless(probe.port());
  endless.Send(head + "3;" + std::string(100'000, 'e'));
  CHECK(endless.Read().status == 400);
}

TEST_CASE("Expect: 100-continue is answered when the body is wanted") {
  Probe probe;
  RawClient client(probe.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  CHECK(client.Read(false, true).status == 100);
  client.Send("body");
  CHECK(client.Read().body == "body");

  RawClient refused(probe.port());  // not wanted: the answer comes at once
  refused.Send("POST /nobody HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  const auto response = refused.Read(false, true);
  CHECK(response.status == 200);
  CHECK(response.Header("connection") == "close");
}

TEST_CASE("A client that leaves is noticed at once, streaming or not, by FIN or by RST") {
  Probe probe;
  int expected = 0;
  for (const std::string path : {"/gone", "/stream"}) {
    for (const bool reset : {false, true}) {
      CAPTURE(path, reset);
      RawClient client(probe.port());
      client.Send(RequestText("POST", path, "{}"));
      REQUIRE(Eventually(probe.handled, expected + 1));
      reset ? client.Reset() : client.Close();
      CHECK(Eventually(probe.gone, ++expected));
    }
  }
}

TEST_CASE("A client that half closes after its request gets its whole answer") {
  Probe probe;
  for (const std::string path : {"/echo", "/three", "/gone"}) {
    CAPTURE(path);
    RawClient client(probe.port());
    client.Send(RequestText("POST", path, "{}"));
    client.HalfClose();
    if (path == "/gone") {  // answered when it is released: nobody has gone
      std::this_thread::sleep_for(milliseconds(50));
      probe.release = true;
    }
    const auto answer = client.Read();
    CHECK(answer.status == 200);
    CHECK(answer.body == (path == "/three" ? "onetwothree" : path == "/echo" ? "{}" : ""));
    CHECK(client.ClosedWithin(5000));
  }
  CHECK(probe.gone == 0);
}

TEST_CASE("A client that reads nothing is cut off; its server thread and buffers are free again") {
  HttpServerOptions options;
  options.write_timeout = milliseconds(300);
  options.send_buffer = 16384;
  Probe probe(options);
  RawClient client(probe.port(), 4096);
  client.Send(RequestText("POST", "/stream", "{}"));
  CHECK(Eventually(probe.cut, 1));
}

TEST_CASE("Slow heads, slow bodies and idle connections are closed, and cost no thread meanwhile") {
  HttpServerOptions options;
  options.max_workers = 2;
  options.light_workers = 1;
  options.poller.head_timeout = milliseconds(400);
  options.poller.body_timeout = milliseconds(400);
  options.poller.idle_timeout = milliseconds(400);
  Probe probe(options);
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 60; ++i) {
    slow.push_back(std::make_unique<RawClient>(probe.port()));
    if (i % 3 == 0) slow.back()->Send("GET / HTT");
    if (i % 3 == 1) slow.back()->Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
  }
  CHECK(Fetch(probe.port(), "GET", "/alive").body == "/alive");
  CHECK(Fetch(probe.port(), "POST", "/echo", "alive").body == "alive");
  for (std::size_t i = 0; i < slow.size(); ++i) {
    CAPTURE(i);
    if (i % 3 != 2) CHECK(slow[i]->Read().status == 408);
    CHECK(slow[i]->ClosedWithin(5000));
  }
  CHECK(probe.handled == 2);
}

TEST_CASE("A body that a worker waits for has its own time limits") {
  HttpServerOptions options;
  options.body.idle_timeout = milliseconds(200);
  options.poller.body_ahead = 4;
  Probe probe(options);
  RawClient client(probe.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
  CHECK(client.Read().status == 499);
  CHECK(client.ClosedWithin(5000));
}

/// A request whose handler waits for the first byte of a body of `size` bytes.
std::unique_ptr<RawClient> Uploading(int port, std::size_t size) {
  auto client = std::make_unique<RawClient>(port);
  client->Send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " + std::to_string(size) +
               "\r\n\r\n");
  REQUIRE(client->ReadUntil("100 Continue\r\n\r\n"));
  return client;
}

TEST_CASE("All large bodies together are bounded, and small ones need no room") {
  HttpServerOptions options;
  options.poller.body_ahead = 1000;
  options.max_bodies_bytes = 15'000;
  Probe probe(options);
  const std::string body(10'000, 'x');
  const auto first = Uploading(probe.port(), body.size());
  CHECK(Fetch(probe.port(), "POST", "/echo", body).status == 503);
  RawClient chunked(probe.port());  // as soon as it is too much
  chunked.Send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2710\r\n" + body + "\r\n");
  CHECK(chunked.Read().status == 503);
  // What a request took is given back a little after its answer.
  const auto taken = [&](const std::string& text) {
    RawResponse answer;
    for (int i = 0; i < 100 && answer.status != 200; ++i) answer = Fetch(probe.port(), "POST", "/echo", text);
    return answer.body == text;
  };
  CHECK(Fetch(probe.port(), "POST", "/echo", body.substr(0, 1000)).status == 200);
  CHECK(taken(body.substr(0, 4000)));
  first->Send(body);
  CHECK(first->Read().body == body);
  CHECK(taken(body));
}

TEST_CASE("Bodies that never end take some of the workers, not all") {
  HttpServerOptions options;
  options.poller.body_ahead = 1000;
  options.max_workers = 3;
  options.max_body_readers = 2;
  Probe probe(options);
  const auto first = Uploading(probe.port(), 2000);
  const auto second = Uploading(probe.port(), 2000);
  RawClient third(probe.port());
  third.Send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
  CHECK(third.Read().status == 503);
  CHECK(Fetch(probe.port(), "POST", "/echo", "small").body == "small");
  for (RawClient* slow : {first.get(), second.get()}) {
    slow->Send(std::string(2000, 'x'));
    CHECK(slow->Read().status == 200);
  }
  CHECK(Fetch(probe.port(), "POST", "/echo", std::string(2000, 'x')).status == 200);
}

TEST_CASE("With every worker busy, health checks are answered and the next request is told to come again") {
  HttpServerOptions options;
  options.max_workers = 2;
  options.max_waiting = 1;
  Probe probe(options);
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 3; ++i) {
    busy.push_back(std::make_unique<RawClient>(probe.port()));
    busy.back()->Send(RequestText("POST", "/gone", "{}"));
    if (i < 2) REQUIRE(Eventually(probe.handled, i + 1));
  }
  // The third waits for a worker; requests without a body have threads of their own.
  CHECK(Fetch(probe.port(), "GET", "/health").body == "/health");
  RawResponse refused;
  for (int i = 0; i < 100 && refused.status != 503; ++i) refused = Fetch(probe.port(), "POST", "/nobody", "{}");
  CHECK(refused.status == 503);
  CHECK(refused.Header("retry-after") == "1");
  probe.release = true;
  for (auto& client : busy) CHECK(client->Read().status == 200);
}

TEST_CASE("A burst of connections over the limit makes room by closing idle ones, else is refused") {
  HttpServerOptions options;
  options.poller.max_connections = 4;
  Probe probe(options);
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 8; ++i) idle.push_back(std::make_unique<RawClient>(probe.port()));
  CHECK(Fetch(probe.port(), "GET", "/room").body == "/room");
  CHECK(idle.front()->ClosedWithin(5000));

  Probe full(options);
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 4; ++i) {
    busy.push_back(std::make_unique<RawClient>(full.port()));
    busy.back()->Send(RequestText("POST", "/gone", "{}"));
    REQUIRE(Eventually(full.handled, i + 1));
  }
  RawClient extra(full.port());
  CHECK(extra.Read().status == 503);
  full.release = true;
}

TEST_CASE("A second server on the same port fails, says why, and the first goes on") {
  Probe probe;
  HttpServerOptions options;
  options.port = probe.port();
  const auto second = HttpServer::Start(options, [](HttpRequest&) { return HttpResponse{}; });
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == ErrorCode::kUnavailable);
  CHECK(second.error().message.find("cannot listen on 127.0.0.1:") == 0);
  CHECK(second.error().message.find("in use") != std::string::npos);
  CHECK(Fetch(probe.port(), "GET", "/still").body == "/still");

  options.host = "256.1.2.3.example.invalid";
  CHECK_FALSE(HttpServer::Start(options, [](HttpRequest&) { return HttpResponse{}; }).ok());
  options.host = "127.0.0.1";
  options.port = 70000;
  CHECK_FALSE(HttpServer::Start(options, [](HttpRequest&) { return HttpResponse{}; }).ok());
}

TEST_CASE("Stop() lets running answers finish within its grace, and cuts them after it") {
  Probe patient;
  RawClient client(patient.port());
  client.Send(RequestText("POST", "/gone", "{}"));
  REQUIRE(Eventually(patient.handled, 1));
  std::thread stopper([&] { patient.server().Stop(milliseconds(10'000)); });
  for (int i = 0; i < 500 && RawClient(patient.port()).connected(); ++i) std::this_thread::sleep_for(milliseconds(5));
  CHECK_FALSE(RawClient(patient.port()).connected());
  patient.release = true;
  const auto response = client.Read();
  CHECK(response.status == 200);
  CHECK(response.Header("connection") == "close");
  stopper.join();

  Probe hasty;
  RawClient stuck(hasty.port());
  stuck.Send(RequestText("POST", "/gone", "{}"));
  REQUIRE(Eventually(hasty.handled, 1));
  hasty.server().Stop(milliseconds(50));
  CHECK(stuck.ClosedWithin(5000));
  CHECK(hasty.gone == 1);
}

}  // namespace
}  // namespace quorum::server

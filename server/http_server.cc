#include "server/http_server.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/body_room.h"
#include "server/error_body.h"
#include "server/httplib_compat.h"
#include "server/listen_socket.h"
#include "server/random_id.h"
#include "server/worker_pool.h"

namespace quorum::server {
namespace {

// One request on its way through the library.
struct ExchangeState {
  Connection& connection;
  const RequestHead& head;
  const HttpServerOptions& options;
  BodyRoom::Part room;  // first, so that it outlives what is made of the body
  BodyReader body;
  HttpRequest request;
  const httplib::ContentReader* reader = nullptr;
  bool keep_alive = false;  // decided when the head of the answer is written
  bool answered_whole = true;
  bool probed = false;  // whether a silent client still reads
};

/// Before the head of an answer is out. A client that has half closed its side waits for its answer, and one that has
/// closed it does not: an interim answer, which every client of HTTP/1.1 skips (RFC 9110, 15.2), makes the latter's
/// system reset the connection.
bool ClientGone(ExchangeState& state) {
  const Connection::Peer peer = state.connection.PeerState();
  if (peer != Connection::Peer::kSilent) return peer == Connection::Peer::kGone;
  if (state.head.minor_version == 0) return true;
  if (!std::exchange(state.probed, true)) state.connection.WriteNow("HTTP/1.1 100 Continue\r\n\r\n");
  return false;
}

// The library calls its handlers on the thread that called Exchange().
thread_local ExchangeState* current_exchange = nullptr;

/// What the library reads and writes: a canonical head, then the body's bytes and the end.
class ExchangeStream final : public httplib::Stream {
 public:
  explicit ExchangeStream(ExchangeState& state) : state_(state) {
    const RequestHead& head = state.head;
    // Routing is ours, so that no expression of the library sees the client's path. "POST" makes it offer the body.
    head_ = head.method == "HEAD" ? "HEAD" : head.has_body() ? "POST" : "GET";
    head_ += " / HTTP/1.1\r\n\r\n";
  }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return !state_.connection.write_failed(); }

  ssize_t read(char* out, size_t size) override {
    if (head_read_ < head_.size()) {
      const std::size_t count = head_.copy(out, size, head_read_);
      head_read_ += count;
      return static_cast<ssize_t>(count);
    }
    return static_cast<ssize_t>(state_.body.Read(out, size));
  }
  ssize_t write(const char* data, size_t size) override {
    return state_.connection.Write({data, size}, state_.options.write_timeout) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  void get_local_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  socket_t socket() const override { return state_.connection.fd(); }

 private:
  ExchangeState& state_;
  std::string head_;
  std::size_t head_read_ = 0;
};

class SinkWriter final : public StreamWriter {
 public:
  SinkWriter(httplib::DataSink& sink, Connection& connection) : sink_(sink), connection_(connection) {}
  bool Write(std::string_view bytes) override {
    return bytes.empty() ? !connection_.write_failed() : sink_.write(bytes.data(), bytes.size());
  }
  bool ClientGone() override { return connection_.PeerState() == Connection::Peer::kGone; }
  bool ClientSilent() override { return connection_.PeerState() == Connection::Peer::kSilent; }

 private:
  httplib::DataSink& sink_;
  Connection& connection_;
};

Error NoRoom(std::string_view what) {
  return {ErrorCode::kUnavailable, fmt::format("the server {}; try again later", what), {}, {}};
}

Result<std::string> ReadBody(ExchangeState& state) {
  std::string body;
  if (state.reader != nullptr && state.body.state() == BodyReader::State::kReading) {
    const std::uint64_t announced = state.head.content_length;
    const std::size_t small = state.options.poller.body_ahead;
    const bool waits = state.head.chunked || state.connection.received().size() < announced;
    if (waits && !state.room.BeginReading()) return NoRoom("waits for as many request bodies as it can");
    bool fits = announced <= small || state.room.Take(announced);
    if (fits) {
      body.reserve(announced);
      (*state.reader)([&](const char* data, size_t size) {
        fits = !state.head.chunked || body.size() + size <= small || state.room.Take(size);
        if (fits) body.append(data, size);
        return fits;
      });
    }
    state.room.EndReading();
    if (!fits) return NoRoom("holds as many bytes of request bodies as it can");
  }
  switch (state.body.state()) {
    case BodyReader::State::kComplete: return body;
    case BodyReader::State::kTooLarge:
      return Error{
          ErrorCode::kTooLarge,
          fmt::format("the request body is over the limit of {} bytes (--max-body-mb)", state.options.body.max_bytes),
          {},
          {}};
    case BodyReader::State::kMalformed: return InvalidArgument("the chunks of the request body are malformed");
    case BodyReader::State::kTimeout: return Error{ErrorCode::kCancelled, "the request body came too slowly", {}, {}};
    case BodyReader::State::kClosed:
    case BodyReader::State::kReading: break;
  }
  return Error{ErrorCode::kCancelled, "the connection closed inside the request body", {}, {}};
}

// A client may name its requests (x-request-id is echoed); anything that could break a header or a log is not echoed.
std::string RequestId(const RequestHead& head) {
  const std::string* given = FindHeader(head.headers, "x-request-id");
  const bool usable =
      given != nullptr && !given->empty() && given->size() <= 128 &&
      given->find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/+=~@") ==
          std::string::npos;
  return usable ? *given : RandomId("req_");
}

std::string HeaderSafe(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

// The whole answer to what never becomes a request.
std::string RefusalBytes(const HeadRefusal& refusal) {
  const std::string body = ErrorBody(refusal.status, refusal.message);
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n"
      "x-request-id: {}\r\n{}\r\n{}",
      refusal.status, refusal.status >= 500 ? "Unavailable" : "Refused", body.size(), RandomId("req_"),
      refusal.status == 503 ? "retry-after: 1\r\nretry-after-ms: 1000\r\n" : "", body);
}

class HttpServerImpl final : public HttpServer {
 public:
  HttpServerImpl(const HttpServerOptions& options, HttpHandler handler, int listen_fd)
      : options_(options),
        handler_(std::move(handler)),
        listen_fd_(listen_fd),
        port_(BoundPort(listen_fd)),
        room_(options.max_bodies_bytes, options.max_body_readers),
        workers_(std::make_unique<WorkerPool>(options.max_workers, options.max_waiting)),
        light_workers_(std::make_unique<WorkerPool>(options.light_workers, options.poller.max_connections)) {
    library_.Get("/", [this](const httplib::Request&, httplib::Response& out) { Answer(out); });
    library_.Post("/", [this](const httplib::Request&, httplib::Response& out, const httplib::ContentReader& reader) {
      current_exchange->reader = &reader;
      Answer(out);
    });
    library_.set_exception_handler([](const httplib::Request&, httplib::Response& out, std::exception_ptr failure) {
      LogFailure(failure);
      Fill(ErrorResponse(500, "the server failed to answer; this is a defect, please report it"), out);
    });
    library_.set_post_routing_handler([this](const httplib::Request&, httplib::Response& out) { FinishHead(out); });
    poller_ = std::make_unique<ConnectionPoller>(
        listen_fd_, options_.poller,
        [this](std::shared_ptr<Connection> connection, RequestHead head) {
          return Dispatch(std::move(connection), std::move(head));
        },
        RefusalBytes);
  }
  ~HttpServerImpl() override { Stop(std::chrono::milliseconds(0)); }

  int port() const override { return port_; }
  std::string url() const override {
    const bool v6 = options_.host.find(':') != std::string::npos;
    const std::string host = options_.host == "0.0.0.0" ? "127.0.0.1" : options_.host == "::" ? "::1" : options_.host;
    return fmt::format("{}://{}{}{}:{}", options_.poller.tls == nullptr ? "http" : "https", v6 ? "[" : "", host,
                       v6 ? "]" : "", port_);
  }

  void Stop(std::chrono::milliseconds grace) override {
    if (stopping_.exchange(true)) return;
    poller_->Stop();
    ::close(listen_fd_);
    {
      std::unique_lock lock(mutex_);
      none_active_.wait_for(lock, grace, [this] { return active_.empty(); });
      cut_off_ = true;
      for (Connection* connection : active_) connection->ShutDown();
    }
    workers_.reset();  // waits for the tasks, which have no one left to write to
    light_workers_.reset();
  }

 private:
  bool Dispatch(std::shared_ptr<Connection> connection, RequestHead head) {
    WorkerPool& pool = head.has_body() ? *workers_ : *light_workers_;
    return pool.TryRun([this, connection = std::move(connection), head = std::move(head)]() mutable {
      Serve(std::move(connection), head);
    });
  }

  void Serve(std::shared_ptr<Connection> connection, const RequestHead& head) {
    {
      const std::lock_guard lock(mutex_);
      active_.insert(connection.get());
      if (cut_off_) connection->ShutDown();
    }
    bool keep_alive = false;
    try {
      keep_alive = Exchange(*connection, head);
    } catch (...) {
      LogFailure(std::current_exception());
    }
    current_exchange = nullptr;
    {
      const std::lock_guard lock(mutex_);
      active_.erase(connection.get());
      if (active_.empty()) none_active_.notify_all();
    }
    poller_->Return(std::move(connection),
                    keep_alive ? ConnectionPoller::After::kKeepAlive : ConnectionPoller::After::kClose);
  }

  // Whether the connection can take another request.
  bool Exchange(Connection& connection, const RequestHead& head) {
    ExchangeState state{connection, head, options_, BodyRoom::Part(room_), BodyReader(connection, head, options_.body),
                        {}};
    HttpRequest& request = state.request;
    request.method = head.method;
    request.path = head.path;
    request.query = head.query;
    request.headers = head.headers;
    request.request_id = RequestId(head);
    request.remote_addr = connection.remote_addr();
    request.read_body = [&state] { return ReadBody(state); };
    request.client_gone = [&state] { return ClientGone(state); };
    current_exchange = &state;
    ExchangeStream stream(state);
    const bool written = library_.Exchange(stream);
    return written && state.keep_alive && state.answered_whole && !connection.write_failed();
  }

  void Answer(httplib::Response& out) { Fill(handler_(current_exchange->request), out); }

  static void Fill(HttpResponse response, httplib::Response& out) {
    out.status = response.status;
    for (Header& header : response.headers) out.set_header(header.name, HeaderSafe(std::move(header.value)));
    if (!response.stream) {
      if (!response.body.empty()) out.set_content(std::move(response.body), response.content_type);
      return;
    }
    auto provider = [write = std::move(response.stream)](size_t, httplib::DataSink& sink) {
      SinkWriter writer(sink, current_exchange->connection);
      try {
        write(writer);
      } catch (...) {  // half an answer is out: cut it so that nobody takes it for a whole one
        LogFailure(std::current_exception());
        current_exchange->answered_whole = false;
        return false;
      }
      if (current_exchange->connection.write_failed()) return false;
      sink.done();
      return true;
    };
    // HTTP/1.0 knows no chunks: the answer ends with the connection.
    if (current_exchange->head.minor_version == 0) {
      current_exchange->answered_whole = false;
      out.set_content_provider(response.content_type, std::move(provider));
    } else {
      out.set_chunked_content_provider(response.content_type, std::move(provider));
    }
  }

  // Runs just before the head of an answer is sent.
  void FinishHead(httplib::Response& out) {
    ExchangeState& state = *current_exchange;
    // A body that the handler did not want, but the poller collected: dropping it saves the connection. Any other
    // unread body would be taken for the next request.
    if (!state.head.chunked && state.connection.received().size() >= state.head.content_length) {
      char dropped[4096];
      while (state.body.Read(dropped, sizeof dropped) > 0) {
      }
    }
    state.keep_alive = state.head.keep_alive && state.answered_whole && state.body.complete() && !stopping_.load();
    out.headers.erase("Keep-Alive");
    out.headers.erase("Connection");
    out.headers.erase("Accept-Ranges");
    if (!state.keep_alive) out.headers.emplace("Connection", "close");
    if (state.keep_alive && state.head.minor_version == 0) out.headers.emplace("Connection", "keep-alive");
    if (out.status == 204 || out.status == 304) out.headers.erase("Content-Length");
    out.headers.emplace("x-request-id", state.request.request_id);
    out.headers.emplace("X-Content-Type-Options", "nosniff");
  }

  static void LogFailure(const std::exception_ptr& failure) {
    const std::string id = current_exchange == nullptr ? "?" : current_exchange->request.request_id;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      Log(LogLevel::kError, "request {}: unexpected exception: {}", id, e.what());
    } catch (...) {
      Log(LogLevel::kError, "request {}: unexpected exception", id);
    }
  }

  const HttpServerOptions options_;
  const HttpHandler handler_;
  const int listen_fd_;
  const int port_;
  BodyRoom room_;
  HttplibServer library_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable none_active_;
  std::unordered_set<Connection*> active_;
  bool cut_off_ = false;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<WorkerPool> light_workers_;
  std::unique_ptr<ConnectionPoller> poller_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, HttpHandler handler) {
  QUORUM_ASSIGN(const int fd, ListenOn(options.host, options.port, options.backlog, options.send_buffer));
  return std::unique_ptr<HttpServer>(std::make_unique<HttpServerImpl>(options, std::move(handler), fd));
}

}  // namespace quorum::server

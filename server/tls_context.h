// TLS for connections: a certificate, its key, and what is spoken. OpenSSL stays behind this header and connection.cc.
#pragma once

#include <memory>
#include <string>

#include "engine/base/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace quorum::server {

/// Immutable, thread-safe.
class TlsContext {
 public:
  /// PEM files: the certificate with its chain, and the private key. TLS 1.2 and 1.3.
  /// Errors: kInvalidArgument, naming the file and OpenSSL's reason.
  static Result<std::shared_ptr<const TlsContext>> FromFiles(const std::string& certificate, const std::string& key);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// The server's side of a session over `fd`; the caller frees it. Null: no memory.
  ssl_st* Open(int fd) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

}  // namespace quorum::server

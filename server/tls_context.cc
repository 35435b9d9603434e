#include "server/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#pragma GCC diagnostic ignored "-Wold-style-cast"  // OpenSSL's option macros

namespace quorum::server {
namespace {

Error Failed(const std::string& what) {
  const unsigned long code = ::ERR_get_error();
  const char* reason = code == 0 ? nullptr : ::ERR_reason_error_string(code);
  ::ERR_clear_error();
  return InvalidArgument(fmt::format("TLS: {}: {}", what, reason == nullptr ? "it cannot be used" : reason));
}

// HTTP/1.1 is all that is spoken here.
int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
                   void*) {
  static constexpr unsigned char kHttp[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  const int result = ::SSL_select_next_proto(&chosen, out_size, kHttp, sizeof kHttp - 1, in, in_size);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::FromFiles(const std::string& certificate,
                                                                const std::string& key) {
  ::ERR_clear_error();
  SSL_CTX* raw = ::SSL_CTX_new(::TLS_server_method());
  if (raw == nullptr) return Failed("no context");
  std::shared_ptr<const TlsContext> context(new TlsContext(raw));
  ::SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  // A client that renegotiates without end would cost the server a handshake each time.
  ::SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::SSL_CTX_set_mode(raw,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_alpn_select_cb(raw, ChooseProtocol, nullptr);
  if (::SSL_CTX_use_certificate_chain_file(raw, certificate.c_str()) != 1) return Failed(certificate);
  if (::SSL_CTX_use_PrivateKey_file(raw, key.c_str(), SSL_FILETYPE_PEM) != 1) return Failed(key);
  if (::SSL_CTX_check_private_key(raw) != 1) return Failed(fmt::format("{} is not the key of {}", key, certificate));
  return context;
}

TlsContext::~TlsContext() { ::SSL_CTX_free(context_); }

SSL* TlsContext::Open(int fd) const {
  SSL* session = ::SSL_new(context_);
  if (session == nullptr) return nullptr;
  if (::SSL_set_fd(session, fd) != 1) {
    ::SSL_free(session);
    return nullptr;
  }
  ::SSL_set_accept_state(session);
  return session;
}

}  // namespace quorum::server

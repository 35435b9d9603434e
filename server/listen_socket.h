// A TCP socket that listens.
#pragma once

#include <string>

#include "engine/base/result.h"

namespace quorum::server {

/// A bound, listening, non-blocking socket; the caller closes it. `host` is a name or a numeric address.
/// SO_REUSEADDR, never SO_REUSEPORT: a second server on the same port fails instead of taking half of the clients.
/// Errors: kUnavailable, naming the address and the reason.
Result<int> ListenOn(const std::string& host, int port, int backlog, int send_buffer);

/// Whether `host`, a name or a numeric address, is this machine's loopback: nobody else can connect.
bool IsLoopback(const std::string& host);

/// The port that a listening socket really has.
int BoundPort(int fd);

}  // namespace quorum::server

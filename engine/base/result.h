// Error values for the request path and for every parser of outside bytes.
// Exceptions never leave a module: they are caught at the border of the foreign library that throws them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "engine/base/check.h"

namespace quorum {

/// Why something was refused. Each code maps to one HTTP status (`HttpStatus`).
enum class ErrorCode : std::uint8_t {
  kInvalidArgument,  // 400: the caller's input is wrong and will stay wrong
  kUnauthenticated,  // 401
  kPermissionDenied, // 403
  kNotFound,         // 404
  kMethodNotAllowed, // 405
  kTooLarge,         // 413: body or file over a stated limit
  kUnsupportedMedia, // 415
  kOverloaded,       // 429: try again later
  kUnavailable,      // 503: loading or draining
  kCancelled,        // 499: the client went away
  kDataLoss,         // 500: a file is damaged or truncated
  kUnsupported,      // 400: well formed, but a feature that Quorum does not have
  kInternal,         // 500: a defect of ours
};

/// The HTTP status of `code`.
int HttpStatus(ErrorCode code);

/// A stable lower-case name of `code`, for logs.
std::string_view ErrorCodeName(ErrorCode code);

/// What went wrong and where. `message` is a whole sentence for a person.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string param;   // the request field at fault, e.g. "messages[2].content"; empty if none
  std::string reason;  // OpenAI's machine-readable code, e.g. "context_length_exceeded"; empty if none
};

inline Error InvalidArgument(std::string message, std::string param = {}, std::string reason = {}) {
  return {ErrorCode::kInvalidArgument, std::move(message), std::move(param), std::move(reason)};
}
inline Error DataLoss(std::string message) { return {ErrorCode::kDataLoss, std::move(message), {}, {}}; }
inline Error NotFound(std::string message) { return {ErrorCode::kNotFound, std::move(message), {}, {}}; }
inline Error Unsupported(std::string message) {
  return {ErrorCode::kUnsupported, std::move(message), {}, {}};
}
inline Error Internal(std::string message) { return {ErrorCode::kInternal, std::move(message), {}, {}}; }

/// Either a `T` or an `Error`. Asking for the one that is not there is a programmer error (QUORUM_CHECK).
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}          // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}      // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { QUORUM_CHECK(ok()); return *std::get_if<0>(&state_); }
  const T& value() const& { QUORUM_CHECK(ok()); return *std::get_if<0>(&state_); }
  T&& value() && { QUORUM_CHECK(ok()); return std::move(*std::get_if<0>(&state_)); }
  const Error& error() const { QUORUM_CHECK(!ok()); return *std::get_if<1>(&state_); }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

/// Success or an `Error`.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { QUORUM_CHECK(failed_); return error_; }

 private:
  bool failed_ = false;
  Error error_;
};

using Status = Result<void>;

}  // namespace quorum

#define QUORUM_CONCAT_(a, b) a##b
#define QUORUM_CONCAT(a, b) QUORUM_CONCAT_(a, b)

/// Returns the error of a `Status` expression to the caller.
#define QUORUM_TRY(expr)                                  \
  do {                                                    \
    auto quorum_try_status = (expr);                      \
    if (!quorum_try_status.ok()) return quorum_try_status.error(); \
  } while (false)

/// `QUORUM_ASSIGN(auto x, F())`: unwraps a Result or returns its error to the caller.
#define QUORUM_ASSIGN(decl, expr)                                             \
  auto QUORUM_CONCAT(quorum_result_, __LINE__) = (expr);                      \
  if (!QUORUM_CONCAT(quorum_result_, __LINE__).ok())                          \
    return QUORUM_CONCAT(quorum_result_, __LINE__).error();                   \
  decl = std::move(QUORUM_CONCAT(quorum_result_, __LINE__)).value()

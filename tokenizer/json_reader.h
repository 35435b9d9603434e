// Reads tokenizer.json without building a tree of its two large parts. Private to the folder: JSON types stay here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/result.h"

namespace quorum::tok {

using Json = nlohmann::json;

/// A tokenizer.json. `tree` has everything but the contents of model.vocab and model.merges.
struct TokenizerJson {
  Json tree;
  std::vector<std::pair<std::string, std::int64_t>> vocab;  // as in the file, ids unchecked
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<double> scores;  // Unigram: of the entries of `vocab`, whose ids are their places; else empty
};

/// Parses the bytes of a tokenizer.json. Never throws; nesting is limited.
/// Errors: kInvalidArgument, saying where (byte offset or entry).
Result<TokenizerJson> ReadTokenizerJson(std::string_view text);

/// Parses a small JSON document, with the same limits.
Result<Json> ReadJson(std::string_view text);

/// A place in a document, with checked access to what is there. `path` is for errors: "pre_tokenizer.pattern".
class JsonView {
 public:
  JsonView(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  bool IsNull() const { return value_->is_null(); }
  bool IsString() const { return value_->is_string(); }
  bool IsObject() const { return value_->is_object(); }
  bool IsArray() const { return value_->is_array(); }

  /// The member `key`; a null view when it is missing or this is no object.
  JsonView operator[](const char* key) const;
  /// The members by name; none when this is no object.
  std::vector<std::pair<std::string, JsonView>> Members() const;
  /// The elements. Errors: kInvalidArgument when this is no array.
  Result<std::vector<JsonView>> Elements() const;
  // Errors of those below: kInvalidArgument when the value is of another type. Null gives `otherwise`.
  Result<std::string> String() const;
  Result<std::string> String(std::string_view otherwise) const;
  Result<bool> Bool(bool otherwise) const;
  Result<std::int64_t> Integer() const;

  Error Bad(std::string_view what) const;           // kInvalidArgument
  Error NotSupported(std::string_view what) const;  // kUnsupported

 private:
  const Json* value_;
  std::string path_;
};

}  // namespace quorum::tok

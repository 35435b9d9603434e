// What a reply must be: OpenAI's response_format, and the like fields of vLLM and llama-server.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/compiled_grammar.h"
#include "engine/grammar/free_text.h"
#include "server/json_fields.h"

namespace quorum::server {

struct OutputFormat {
  enum class Kind { kText, kJsonObject, kJsonSchema, kRegex, kChoice, kGbnf };
  Kind kind = Kind::kText;
  std::string text;      // the schema, expression, JSON list of choices or grammar
  bool compact = false;  // JSON without white space
  std::string param;     // the field that asked for it
  std::optional<grammar::ThinkingMarks> thinking =
      {};  // of a model that thinks first; whoever knows the prompt fills it in
};

/// Reads whichever of these is there: response_format (text, json_object, json_schema), structured_outputs (json,
/// regex, choice, grammar, json_object, disable_any_whitespace), guided_json, guided_regex, guided_choice,
/// guided_grammar, and llama-server's grammar and json_schema. What asks for nothing ("", [], false) and members of
/// response_format that mean nothing here are added to `ignored`. Errors: kInvalidArgument for a wrong shape or more
/// than one; kUnsupported for kinds that Quorum does not have.
Result<OutputFormat> ReadOutputFormat(JsonFields& fields, std::vector<std::string>& ignored);

/// What a format allows, added to `to`; not a thought before it. Formats of strings that its schema names and that are
/// not known are added to `ignored`. REQUIRES: not kText.
/// Errors: kInvalidArgument: it cannot be followed; kUnsupported: GBNF, which is a whole grammar by itself.
Result<grammar::ExprId> AddOutputFormat(const OutputFormat& format, grammar::Grammar& to,
                                        std::vector<std::string>& ignored);

/// How the formats of strings that the schema in `param` names, and that are not known, are called where fields that
/// are ignored are told.
void NameUnknownFormats(const std::string& param, const std::set<std::string>& formats,
                        std::vector<std::string>& ignored);

/// Equal for formats that allow the same.
std::string KeyOf(const OutputFormat& format);

/// Compiled formats of one model, the most recently used kept, as far as they take few bytes. Thread-safe.
class GrammarCache {
 public:
  static constexpr std::size_t kMaxGrammars = 64;
  static constexpr std::size_t kMaxBytes = std::size_t{96} << 20;

  explicit GrammarCache(std::shared_ptr<const grammar::Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}

  struct Made {
    grammar::Grammar grammar;
    std::vector<std::string> ignored;  // fields that it does not honour
  };
  struct Known {
    std::shared_ptr<const grammar::CompiledGrammar> compiled;
    std::vector<std::string> ignored;
  };
  /// A null grammar for text. Errors: kInvalidArgument, with `format.param`, for what cannot be compiled.
  Result<Known> Get(const OutputFormat& format);
  /// The grammar that `make` makes, known by `key`. Errors: those of `make` and of compiling.
  Result<Known> Get(const std::string& key, const std::function<Result<Made>()>& make);

  /// Bytes of all that are kept.
  std::size_t bytes();

  const std::shared_ptr<const grammar::Vocabulary>& vocabulary() const { return vocabulary_; }

 private:
  std::size_t BytesKept() const;
  void Trim();

  struct Entry {
    std::string key;
    Known known;
  };

  const std::shared_ptr<const grammar::Vocabulary> vocabulary_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the latest used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
};

}  // namespace quorum::server

#include "tokenizer/json_reader.h"

#include <fmt/format.h>

#include "tokenizer/vocab.h"

namespace quorum::tok {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxMerges = std::size_t{1} << 24;

const Json& NullJson() {
  static const Json null;
  return null;
}

/// Builds the tree from parser events, and keeps model.vocab and model.merges out of it.
class Builder : public nlohmann::json_sax<Json> {
 public:
  /// `large` null: everything goes into the tree.
  Builder(Json& root, TokenizerJson* large) : root_(root), large_(large) {}

  const std::string& error() const { return error_; }

  bool null() override { return Value(Json(nullptr)); }
  bool boolean(bool value) override { return Value(Json(value)); }
  bool number_integer(number_integer_t value) override { return Number(value, Json(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    const bool fits = value <= static_cast<number_unsigned_t>(INT64_MAX);
    return Number(fits ? static_cast<std::int64_t>(value) : -1, Json(value));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return mode_ == Mode::kPieces ? Score(value) : Value(Json(value));
  }
  bool binary(binary_t&) override { return Fail("binary data"); }

  bool string(string_t& value) override {
    if (mode_ == Mode::kMerges) return Merge(std::move(value));
    if (mode_ == Mode::kPieces) return PieceText(std::move(value));
    return Value(Json(std::move(value)));
  }

  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    if (!Enter()) return false;
    if (mode_ != Mode::kTree) return Fail("an object inside " + LargePart());
    if (large_ != nullptr && IsPath("vocab")) {
      mode_ = Mode::kVocab;
      return true;
    }
    return Open(Json::object());
  }

  bool start_array(std::size_t) override {
    if (!Enter()) return false;
    if (mode_ == Mode::kPieces && !in_pair_) {
      in_pair_ = true;
      pieces_before_ = large_->vocab.size();
      return true;
    }
    if (mode_ == Mode::kMerges && pair_.empty() && !in_pair_) {
      in_pair_ = true;
      return true;
    }
    if (mode_ != Mode::kTree) return Fail("an array inside " + LargePart());
    if (large_ != nullptr && IsPath("merges")) {
      mode_ = Mode::kMerges;
      return true;
    }
    if (large_ != nullptr && IsPath("vocab")) {
      mode_ = Mode::kPieces;
      return true;
    }
    return Open(Json::array());
  }

  bool end_object() override { return Leave(); }

  bool end_array() override {
    if (in_pair_ && mode_ == Mode::kPieces) {
      const std::size_t pieces = large_->vocab.size();
      if (pieces != pieces_before_ + 1 || large_->scores.size() != pieces) return FailPiece();
      in_pair_ = false;
      path_.pop_back();
      return true;
    }
    if (in_pair_) {
      if (pair_.size() != 2) return Fail(fmt::format("model.merges[{}]: not two strings", large_->merges.size()));
      in_pair_ = false;
      path_.pop_back();
      return AddMerge(std::move(pair_[0]), std::move(pair_[1]));
    }
    return Leave();
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& exception) override {
    if (error_.empty()) error_ = fmt::format("at byte {}: {}", position, exception.what());
    return false;
  }

 private:
  enum class Mode : std::uint8_t { kTree, kVocab, kMerges, kPieces };

  std::string LargePart() const { return mode_ == Mode::kMerges ? "model.merges" : "model.vocab"; }
  bool FailPiece() {
    return Fail(
        fmt::format("model.vocab[{}]: not a text and a score", in_pair_ ? pieces_before_ : large_->vocab.size()));
  }
  bool Fail(std::string what) {
    error_ = std::move(what);
    return false;
  }
  bool IsPath(std::string_view member) const { return path_.size() == 3 && path_[1] == "model" && path_[2] == member; }

  bool Enter() {
    if (path_.size() >= kMaxDepth) return Fail(fmt::format("more than {} levels deep", kMaxDepth));
    path_.push_back(!stack_.empty() && stack_.back()->is_object() ? key_ : std::string());
    return true;
  }

  bool Leave() {
    const bool large = IsPath("vocab") || IsPath("merges");
    path_.pop_back();
    if (mode_ == Mode::kTree) {
      stack_.pop_back();
    } else if (large) {
      mode_ = Mode::kTree;
    }
    return true;
  }

  /// Puts `value` where the tree grows; null when this is inside a large part.
  Json* Place(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& top = *stack_.back();
    if (top.is_object()) return &(top[key_] = std::move(value));
    top.push_back(std::move(value));
    return &top.back();
  }

  bool Open(Json container) {
    stack_.push_back(Place(std::move(container)));
    return true;
  }

  bool Value(Json value) {
    if (mode_ == Mode::kPieces) return FailPiece();
    if (mode_ != Mode::kTree) return Fail(fmt::format("{}: a value of the wrong type after \"{}\"", LargePart(), key_));
    Place(std::move(value));
    return true;
  }

  bool Number(std::int64_t value, Json json) {
    if (mode_ == Mode::kPieces) return Score(json.get<double>());
    if (mode_ != Mode::kVocab) return Value(std::move(json));
    if (large_->vocab.size() >= static_cast<std::size_t>(kMaxVocabSize))
      return Fail("model.vocab has too many entries");
    large_->vocab.emplace_back(std::move(key_), value);
    return true;
  }

  bool PieceText(std::string text) {
    if (!in_pair_ || large_->vocab.size() != large_->scores.size()) return FailPiece();
    if (large_->vocab.size() >= static_cast<std::size_t>(kMaxVocabSize)) {
      return Fail("model.vocab has too many entries");
    }
    const auto place = static_cast<std::int64_t>(large_->vocab.size());
    large_->vocab.emplace_back(std::move(text), place);
    return true;
  }

  bool Score(double score) {
    if (!in_pair_ || large_->vocab.size() != large_->scores.size() + 1) return FailPiece();
    large_->scores.push_back(score);
    return true;
  }

  bool Merge(std::string text) {
    if (in_pair_) {
      pair_.push_back(std::move(text));
      return pair_.size() <= 2 || Fail(fmt::format("model.merges[{}]: not two strings", large_->merges.size()));
    }
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      return Fail(
          fmt::format("model.merges[{}] \"{}\" is not two parts with a space between", large_->merges.size(), text));
    }
    return AddMerge(text.substr(0, space), text.substr(space + 1));
  }

  bool AddMerge(std::string left, std::string right) {
    pair_.clear();
    if (large_->merges.size() >= kMaxMerges) return Fail("model.merges has too many entries");
    large_->merges.emplace_back(std::move(left), std::move(right));
    return true;
  }

  Json& root_;
  TokenizerJson* large_;
  Mode mode_ = Mode::kTree;
  std::vector<Json*> stack_;       // open containers of the tree
  std::vector<std::string> path_;  // keys of all open containers
  std::string key_;
  bool in_pair_ = false;
  std::vector<std::string> pair_;
  std::size_t pieces_before_ = 0;  // entries before the open pair
  std::string error_;
};

Status Parse(std::string_view text, Json& root, TokenizerJson* large) {
  Builder builder(root, large);
  std::string error;
  try {
    if (Json::sax_parse(text.begin(), text.end(), &builder)) return {};
    error = builder.error();
  } catch (const std::exception& exception) {
    error = exception.what();
  }
  return InvalidArgument(std::move(error));
}

}  // namespace

Result<TokenizerJson> ReadTokenizerJson(std::string_view text) {
  TokenizerJson json;
  QUORUM_TRY(Parse(text, json.tree, &json));
  return json;
}

Result<Json> ReadJson(std::string_view text) {
  Json json;
  QUORUM_TRY(Parse(text, json, nullptr));
  return json;
}

JsonView JsonView::operator[](const char* key) const {
  const auto path = path_.empty() ? std::string(key) : path_ + "." + key;
  if (!value_->is_object()) return {NullJson(), path};
  const auto member = value_->find(key);
  return {member == value_->end() ? NullJson() : *member, path};
}

std::vector<std::pair<std::string, JsonView>> JsonView::Members() const {
  std::vector<std::pair<std::string, JsonView>> members;
  if (!value_->is_object()) return members;
  for (const auto& [key, value] : value_->items()) {
    members.emplace_back(key, JsonView(value, path_.empty() ? key : path_ + "." + key));
  }
  return members;
}

Result<std::vector<JsonView>> JsonView::Elements() const {
  if (!value_->is_array()) return Bad("is not an array");
  std::vector<JsonView> elements;
  for (const Json& element : *value_) elements.emplace_back(element, fmt::format("{}[{}]", path_, elements.size()));
  return elements;
}

Result<std::string> JsonView::String() const {
  if (!value_->is_string()) return Bad("is not a string");
  return value_->get_ref<const std::string&>();
}

Result<std::string> JsonView::String(std::string_view otherwise) const {
  return IsNull() ? Result<std::string>(std::string(otherwise)) : String();
}

Result<bool> JsonView::Bool(bool otherwise) const {
  if (IsNull()) return otherwise;
  if (!value_->is_boolean()) return Bad("is not true or false");
  return value_->get_ref<const bool&>();
}

Result<std::int64_t> JsonView::Integer() const {
  if (!value_->is_number_integer()) return Bad("is not a whole number");
  return value_->get<std::int64_t>();
}

Error JsonView::Bad(std::string_view what) const { return InvalidArgument(fmt::format("{} {}", path_, what)); }

Error JsonView::NotSupported(std::string_view what) const {
  return Unsupported(fmt::format("{}: {} is not supported", path_, what));
}

}  // namespace quorum::tok

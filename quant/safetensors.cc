#include "quant/safetensors.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/log.h"
#include "quant/gguf_parser.h"
#include "quant/json_value.h"

namespace quorum::quant {
namespace {

Error InFile(const std::string& name, const Error& error) {
  return {error.code, name + ": " + error.message, error.param, error.reason};
}

std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(std::filesystem::symlink_status(path, error));
}

// A name that stays inside its folder.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.size() < 256 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace

const SafeTensor* SafetensorsModel::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Result<std::map<std::string, std::string>> ParseSafetensorsIndex(std::string_view text) {
  QUORUM_ASSIGN(const JsonValue index, ParseJson(text));
  const JsonValue* map = index.Find("weight_map");
  const auto* entries = map == nullptr ? nullptr : map->As<JsonValue::Object>();
  if (entries == nullptr) {
    return InvalidArgument("key 'weight_map' is " + (map == nullptr ? "missing" : map->Describe()) +
                           ", expected an object of tensor names and file names");
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : *entries) {
    const auto* name = file.As<std::string>();
    if (name == nullptr || !IsPlainFileName(*name)) {
      return InvalidArgument("key 'weight_map': tensor " + Quoted(tensor) + " is in " + file.Describe() +
                             ", expected the name of a file of the same folder");
    }
    files.emplace(tensor, *name);
  }
  if (files.empty()) return InvalidArgument("key 'weight_map' is empty");
  return files;
}

void SafetensorsModel::RenamePrefix(std::string_view from, std::string_view to) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    if (name.starts_with(from)) names.push_back(name);
  }
  for (const std::string& name : names) {
    std::string renamed = std::string(to) + name.substr(from.size());
    if (tensors_.contains(renamed)) continue;
    auto node = tensors_.extract(name);
    node.key() = std::move(renamed);
    tensors_.insert(std::move(node));
  }
}

std::size_t SafetensorsModel::Drop(const std::function<bool(std::string_view)>& drop) {
  return std::erase_if(tensors_, [&](const auto& entry) { return drop(entry.first); });
}

Result<SafetensorsModel> SafetensorsModel::Parse(std::span<const std::byte> bytes, const std::string& name) {
  auto tensors = ParseSafetensors(bytes);
  if (!tensors.ok()) return InFile(name, tensors.error());
  SafetensorsModel model;
  model.path_ = name;
  model.paths_.push_back(name);
  model.file_bytes_ = bytes.size();
  for (SafeTensor& tensor : *tensors) {
    std::string key = tensor.name;
    model.tensors_.emplace(std::move(key), std::move(tensor));
  }
  return model;
}

Result<SafetensorsModel> SafetensorsModel::Open(const std::string& folder) {
  SafetensorsModel model;
  model.path_ = folder;
  const std::string index = folder + "/model.safetensors.index.json";
  const std::string single = folder + "/model.safetensors";
  if (Exists(single)) {  // first, as transformers does: merged models keep the index of their shards
    QUORUM_TRY(model.OpenFile(single));
  } else if (Exists(index)) {
    QUORUM_TRY(model.OpenShards(index));
  } else {
    return NotFound(folder + ": the folder has neither model.safetensors nor model.safetensors.index.json" +
                    (Exists(folder + "/pytorch_model.bin") || Exists(folder + "/pytorch_model.bin.index.json")
                         ? "; pytorch_model.bin is not read, convert it to safetensors"
                         : ""));
  }
  return model;
}

Status SafetensorsModel::OpenFile(const std::string& path) {
  QUORUM_ASSIGN(MappedFile mapped, MappedFile::Open(path));
  auto tensors = ParseSafetensors(mapped.bytes());
  if (!tensors.ok()) return InFile(path, tensors.error());
  for (SafeTensor& tensor : *tensors) {
    tensor.file = paths_.size();
    std::string key = tensor.name;
    tensors_.emplace(std::move(key), std::move(tensor));
  }
  paths_.push_back(path);
  file_bytes_ += mapped.bytes().size();
  files_.push_back(std::move(mapped));
  return {};
}

Status SafetensorsModel::OpenShards(const std::string& index_path) {
  std::map<std::string, std::string> promised;
  {
    QUORUM_ASSIGN(const MappedFile text, MappedFile::Open(index_path));
    auto parsed = ParseSafetensorsIndex(TextOf(text.bytes()));
    if (!parsed.ok()) return InFile(index_path, parsed.error());
    promised = std::move(parsed).value();
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : promised) names.insert(file);
  for (const std::string& name : names) {
    const std::string path = path_ + "/" + name;
    auto mapped = MappedFile::Open(path);
    if (!mapped.ok()) return InFile(index_path, mapped.error());
    auto tensors = ParseSafetensors(mapped->bytes());
    if (!tensors.ok()) return InFile(path, tensors.error());
    for (SafeTensor& tensor : *tensors) {
      const auto found = promised.find(tensor.name);
      if (found == promised.end() || found->second != name) {
        Log(LogLevel::kWarn, "{}: tensor {} is left out, because the index does not name it", path,
            Quoted(tensor.name));
        continue;
      }
      tensor.file = paths_.size();
      std::string key = tensor.name;
      tensors_.emplace(std::move(key), std::move(tensor));
    }
    paths_.push_back(path);
    file_bytes_ += mapped->bytes().size();
    files_.push_back(std::move(mapped).value());
  }
  for (const auto& [tensor, file] : promised) {
    if (tensors_.find(tensor) == tensors_.end()) {
      return DataLoss(index_path + ": tensor " + Quoted(tensor) + " should be in " + file + ", which does not hold it");
    }
  }
  return {};
}

void SafetensorsModel::Release(std::span<const std::byte> part) const {
  for (const MappedFile& file : files_) {
    const auto bytes = file.bytes();
    const bool inside = part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + bytes.size();
    if (inside) file.Advise(part, false);
  }
}

Status SafetensorsModel::CheckIntact() const {
  for (const MappedFile& file : files_) QUORUM_TRY(file.CheckIntact());
  return {};
}

}  // namespace quorum::quant

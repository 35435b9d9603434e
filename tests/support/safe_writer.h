// Safetensors files in memory, right or wrong, for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quorum::testing {

/// The bytes of a file with this header, whatever it says, and this data.
inline std::string SafeFile(std::string_view header, std::string_view data) {
  std::string out(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(out.data(), &length, sizeof length);
  return out.append(header).append(data);
}

/// Tensors one after the other.
class SafeWriter {
 public:
  void Add(const std::string& name, std::string_view type, const std::vector<std::int64_t>& shape,
           std::string_view data) {
    std::string axes;
    for (const std::int64_t axis : shape) axes += (axes.empty() ? "" : ",") + std::to_string(axis);
    header_ += (header_.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" + std::string(type) + "\",\"shape\":[" +
               axes + "],\"data_offsets\":[" + std::to_string(data_.size()) + "," +
               std::to_string(data_.size() + data.size()) + "]}";
    data_ += data;
  }
  template <typename T>
  void Add(const std::string& name, std::string_view type, const std::vector<std::int64_t>& shape,
           const std::vector<T>& values) {
    Add(name, type, shape, std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }
  std::string Bytes() const { return SafeFile(header_.empty() ? "{}" : header_ + "}", data_); }

 private:
  std::string header_, data_;
};

}  // namespace quorum::testing

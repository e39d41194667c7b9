// Internal to render: writes protobuf messages that no schema describes (Status, lists, watch events).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::apigw {

class ProtoWriter {
 public:
  void bytes(uint32_t number, std::string_view value) {
    varint(static_cast<uint64_t>(number) << 3 | 2);
    varint(value.size());
    text_ += value;
  }
  void number(uint32_t number, uint64_t value) {
    varint(static_cast<uint64_t>(number) << 3);
    varint(value);
  }
  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  void varint(uint64_t v) {
    for (; v > 0x7f; v >>= 7) text_.push_back(static_cast<char>(v | 0x80));
    text_.push_back(static_cast<char>(v));
  }
  std::string text_;
};

}  // namespace gantry::apigw

#include "libs/model/base64.h"

#include <array>
#include <cstdint>

namespace gantry::model {

namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<uint8_t, 256> kReverse = [] {
  std::array<uint8_t, 256> table{};
  table.fill(0xff);
  for (uint8_t i = 0; i < 64; ++i) table[static_cast<uint8_t>(kAlphabet[i])] = i;
  return table;
}();

}  // namespace

void base64_encode(std::string_view bytes, std::string& out) {
  size_t at = out.size();
  out.resize(at + (bytes.size() + 2) / 3 * 4);
  char* p = out.data() + at;
  const auto* b = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t n = bytes.size();
  for (; n >= 3; n -= 3, b += 3) {
    uint32_t v = static_cast<uint32_t>(b[0]) << 16 | static_cast<uint32_t>(b[1]) << 8 | b[2];
    *p++ = kAlphabet[v >> 18];
    *p++ = kAlphabet[v >> 12 & 63];
    *p++ = kAlphabet[v >> 6 & 63];
    *p++ = kAlphabet[v & 63];
  }
  if (n > 0) {
    uint32_t v = static_cast<uint32_t>(b[0]) << 16 | (n > 1 ? static_cast<uint32_t>(b[1]) << 8 : 0);
    *p++ = kAlphabet[v >> 18];
    *p++ = kAlphabet[v >> 12 & 63];
    *p++ = n > 1 ? kAlphabet[v >> 6 & 63] : '=';
    *p++ = '=';
  }
}

bool base64_decode(std::string_view text, std::string& out, size_t& bad_at) {
  out.clear();
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int count = 0, padding = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\r' || c == '\n') continue;
    bad_at = i;
    if (c == '=') {
      if (count < 2 || count + padding >= 4) return false;
      ++padding;
      continue;
    }
    uint8_t v = kReverse[static_cast<uint8_t>(c)];
    if (v == 0xff || padding > 0) return false;
    bits = bits << 6 | v;
    if (++count == 4) {
      out.push_back(static_cast<char>(bits >> 16));
      out.push_back(static_cast<char>(bits >> 8));
      out.push_back(static_cast<char>(bits));
      bits = 0;
      count = 0;
    }
  }
  bad_at = text.size();
  if (count == 0) return padding == 0;
  if (count + padding != 4) return false;
  if (count == 2) out.push_back(static_cast<char>(bits >> 4));
  if (count == 3) {
    out.push_back(static_cast<char>(bits >> 10));
    out.push_back(static_cast<char>(bits >> 2));
  }
  return true;
}

}  // namespace gantry::model

#include "libs/base/ids.h"

#include <array>
#include <cstdint>

#include "libs/base/entropy.h"

namespace gantry {
namespace {

// The alphabet of k8s.io/apimachinery/pkg/util/rand.
constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";

bool plain(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string new_uid() {
  std::array<uint8_t, 16> bytes;
  random_bytes(bytes.data(), bytes.size());
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += kHex[bytes[i] >> 4];
    out += kHex[bytes[i] & 15];
  }
  return out;
}

std::string random_suffix(size_t length) {
  std::string out;
  while (out.size() < length) {
    uint8_t byte;
    random_bytes(&byte, 1);
    if (byte < 243) out += kAlphabet[byte % kAlphabet.size()];  // 243 = 9 * 27: no bias
  }
  return out;
}

std::string safe_encode(std::string_view digits) {
  std::string out;
  for (char c : digits) out += kAlphabet[static_cast<uint8_t>(c) % kAlphabet.size()];
  return out;
}

std::string encode_token(std::string_view raw) {
  if (raw.empty()) return "_";
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  out.reserve(raw.size());
  for (char c : raw) {
    if (plain(c)) {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<uint8_t>(c) >> 4];
      out += kHex[static_cast<uint8_t>(c) & 15];
    }
  }
  return out;
}

std::optional<std::string> decode_token(std::string_view token) {
  if (token == "_") return "";
  if (token.empty()) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    if (plain(token[i])) {
      out += token[i];
      continue;
    }
    if (token[i] != '%' || i + 2 >= token.size()) return std::nullopt;
    int high = hex_value(token[i + 1]), low = hex_value(token[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    char c = static_cast<char>(high * 16 + low);
    if (plain(c)) return std::nullopt;
    out += c;
    i += 2;
  }
  return out;
}

}  // namespace gantry

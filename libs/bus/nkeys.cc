// NATS' key encoding: base32(prefix byte, 32 bytes, crc16), ed25519 by libsodium.
#include <sodium.h>

#include <cstring>

#include "libs/bus/identity.h"

namespace gantry::bus {
namespace {

constexpr unsigned char kSeedPrefix = 18 << 3;  // 'S'

void init_sodium() {
  static const int done = sodium_init();
  CHECK_GE(done, 0) << "libsodium does not start";
}

constexpr unsigned char prefix_of(KeyType type) {
  switch (type) {
    case KeyType::kOperator:
      return 14 << 3;  // 'O'
    case KeyType::kAccount:
      return 0;  // 'A'
    case KeyType::kUser:
      return 20 << 3;  // 'U'
  }
  return 0;
}

std::optional<KeyType> type_of(unsigned char prefix) {
  for (auto type : {KeyType::kOperator, KeyType::kAccount, KeyType::kUser}) {
    if (prefix_of(type) == prefix) return type;
  }
  return std::nullopt;
}

/// CRC-16/XMODEM.
uint16_t crc16(std::string_view bytes) {
  uint16_t crc = 0;
  for (unsigned char byte : bytes) {
    crc ^= static_cast<uint16_t>(byte << 8);
    for (int i = 0; i < 8; ++i) crc = static_cast<uint16_t>((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
  }
  return crc;
}

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

std::string base32(std::string_view bytes) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (unsigned char byte : bytes) {
    bits = (bits << 8) | byte;
    for (count += 8; count >= 5; count -= 5) out += kAlphabet[(bits >> (count - 5)) & 31];
  }
  if (count > 0) out += kAlphabet[(bits << (5 - count)) & 31];
  return out;
}

std::optional<std::string> unbase32(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 5) | static_cast<uint32_t>(value);
    count += 5;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 255);
    }
  }
  return out;
}

std::string with_checksum(std::string raw) {
  uint16_t crc = crc16(raw);
  raw += static_cast<char>(crc & 255);
  raw += static_cast<char>(crc >> 8);
  auto text = base32(raw);
  sodium_memzero(raw.data(), raw.size());
  return text;
}

/// Decodes and takes the checksum off.
std::optional<std::string> checked(std::string_view text) {
  auto raw = unbase32(text);
  if (!raw || raw->size() < 3) return std::nullopt;
  auto low = static_cast<unsigned char>((*raw)[raw->size() - 2]), high = static_cast<unsigned char>(raw->back());
  raw->resize(raw->size() - 2);
  if (crc16(*raw) != (low | (high << 8))) return std::nullopt;
  return raw;
}

}  // namespace

KeyPair KeyPair::create(KeyType type) {
  init_sodium();
  KeyPair pair;
  pair.type_ = type;
  randombytes_buf(pair.seed_.data(), pair.seed_.size());
  crypto_sign_seed_keypair(pair.public_.data(), pair.secret_.data(), pair.seed_.data());
  return pair;
}

Result<KeyPair> KeyPair::from_seed(std::string_view seed) {
  init_sodium();
  auto raw = checked(seed);
  if (!raw || raw->size() != 34) return Error{Code::kInvalid, "not an nkey seed"};
  auto first = static_cast<unsigned char>((*raw)[0]), second = static_cast<unsigned char>((*raw)[1]);
  auto type = type_of(static_cast<unsigned char>(((first & 7) << 5) | (second >> 3)));
  if ((first & 0xf8) != kSeedPrefix || !type)
    return Error{Code::kInvalid, "not the seed of an operator, account or user"};
  KeyPair pair;
  pair.type_ = *type;
  std::memcpy(pair.seed_.data(), raw->data() + 2, pair.seed_.size());
  sodium_memzero(raw->data(), raw->size());
  crypto_sign_seed_keypair(pair.public_.data(), pair.secret_.data(), pair.seed_.data());
  return pair;
}

KeyPair::~KeyPair() {
  sodium_memzero(seed_.data(), seed_.size());
  sodium_memzero(secret_.data(), secret_.size());
}

std::string KeyPair::public_key() const {
  std::string raw(1, static_cast<char>(prefix_of(type_)));
  raw.append(reinterpret_cast<const char*>(public_.data()), public_.size());
  return with_checksum(std::move(raw));
}

std::string KeyPair::seed() const {
  auto prefix = prefix_of(type_);
  std::string raw;
  raw += static_cast<char>(kSeedPrefix | (prefix >> 5));
  raw += static_cast<char>((prefix & 31) << 3);
  raw.append(reinterpret_cast<const char*>(seed_.data()), seed_.size());
  return with_checksum(std::move(raw));
}

std::string KeyPair::sign(std::string_view data) const {
  std::string signature(crypto_sign_BYTES, '\0');
  crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr,
                       reinterpret_cast<const unsigned char*>(data.data()), data.size(), secret_.data());
  return signature;
}

std::string base64url(std::string_view bytes) {
  std::string out(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  out.resize(out.size() - 1);  // the terminating zero
  return out;
}

bool verify_signature(std::string_view public_key, std::string_view data, std::string_view signature) {
  init_sodium();
  auto raw = checked(public_key);
  if (!raw || raw->size() != 33 || signature.size() != crypto_sign_BYTES) return false;
  return crypto_sign_verify_detached(reinterpret_cast<const unsigned char*>(signature.data()),
                                     reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                                     reinterpret_cast<const unsigned char*>(raw->data() + 1)) == 0;
}

}  // namespace gantry::bus

#include "services/apigw/authn/jwt.h"

#include <glog/logging.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>

#include "libs/pki/pki.h"
#include "services/apigw/authn/token_key.h"

namespace gantry::apigw {
namespace {

constexpr size_t kHalf = 32;  // bytes of r and of s
constexpr int kMinRsaBits = 2048;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string number_bytes(const BIGNUM* number, size_t width) {
  std::string out(width == 0 ? static_cast<size_t>(BN_num_bytes(number)) : width, '\0');
  BN_bn2binpad(number, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size()));
  return out;
}

std::string key_number(const EVP_PKEY* key, const char* name, size_t width = 0) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return {};
  std::string out = number_bytes(number, width);
  BN_free(number);
  return out;
}

// ECDSA signatures are DER in OpenSSL and two plain numbers in JWTs.
std::string der_to_plain(std::string_view der) {
  const unsigned char* at = bytes_of(der);
  ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  if (signature == nullptr) return {};
  std::string out = number_bytes(ECDSA_SIG_get0_r(signature), kHalf) + number_bytes(ECDSA_SIG_get0_s(signature), kHalf);
  ECDSA_SIG_free(signature);
  return out;
}

std::string plain_to_der(std::string_view plain) {
  if (plain.size() != 2 * kHalf) return {};
  ECDSA_SIG* signature = ECDSA_SIG_new();
  ECDSA_SIG_set0(signature, BN_bin2bn(bytes_of(plain), kHalf, nullptr),
                 BN_bin2bn(bytes_of(plain) + kHalf, kHalf, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature, &der);
  ECDSA_SIG_free(signature);
  std::string out = size <= 0 ? std::string() : std::string(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

pki::Key read_public(std::string_view pem) {
  if (auto key = pki::read_public_key(pem)) return key;
  const auto certificate = pki::read_certificate(pem);
  return pki::Key(certificate == nullptr ? nullptr : X509_get_pubkey(certificate.get()));
}

}  // namespace

std::string encode_base64url(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  uint32_t buffer = 0;
  int bits = 0;
  for (const char c : bytes) {
    buffer = buffer << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6;) out += kAlphabet[buffer >> (bits -= 6) & 63];
  }
  if (bits > 0) out += kAlphabet[buffer << (6 - bits) & 63];
  return out;
}

std::optional<std::string> decode_base64url(std::string_view text) {
  std::string out;
  uint32_t buffer = 0;
  int bits = 0;
  if (text.size() % 4 == 1) return std::nullopt;
  for (const char c : text) {
    int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                : c >= 'a' && c <= 'z' ? c - 'a' + 26
                : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '-'             ? 62
                : c == '_'             ? 63
                                       : -1;
    if (value < 0) return std::nullopt;
    buffer = buffer << 6 | static_cast<uint32_t>(value);
    if ((bits += 6) >= 8) out += static_cast<char>(buffer >> (bits -= 8) & 255);
  }
  // A second text for the same bytes would be a second token.
  if ((buffer & ((1U << bits) - 1)) != 0) return std::nullopt;
  return out;
}

TokenKey::TokenKey(std::shared_ptr<EVP_PKEY> key, bool is_private) : key_(std::move(key)), private_(is_private) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(der, static_cast<size_t>(std::max(0, size)), digest.data());
  OPENSSL_free(der);
  id_ = encode_base64url({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

Result<TokenKey> TokenKey::from_pem(std::string_view pem) {
  auto key = pki::read_key(pem);
  const bool is_private = key != nullptr;
  if (!is_private) key = read_public(pem);
  if (key == nullptr) return Error{Code::kInvalid, "no private key, public key or certificate in PEM"};
  const bool rsa = EVP_PKEY_is_a(key.get(), "RSA") == 1 && EVP_PKEY_get_bits(key.get()) >= kMinRsaBits;
  const bool p256 = EVP_PKEY_is_a(key.get(), "EC") == 1 && EVP_PKEY_get_bits(key.get()) == 256;
  if (!rsa && !p256) return Error{Code::kInvalid, "want an RSA key of 2048 bits or more, or an EC key on P-256"};
  return TokenKey(std::move(key), is_private);
}

TokenKey TokenKey::generate() { return TokenKey(pki::make_key(), true); }

const char* TokenKey::algorithm() const { return EVP_PKEY_is_a(key_.get(), "RSA") == 1 ? "RS256" : "ES256"; }

std::string TokenKey::sign(const nlohmann::json& claims) const {
  CHECK(private_);
  std::string input = encode_base64url(nlohmann::json{{"alg", algorithm()}, {"kid", id_}}.dump()) + '.' +
                      encode_base64url(claims.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  size_t size = 0;
  std::string signature;
  if (EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
      EVP_DigestSign(context, nullptr, &size, bytes_of(input), input.size()) == 1) {
    signature.resize(size);
    if (EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, bytes_of(input),
                       input.size()) != 1)
      size = 0;
    signature.resize(size);
  }
  EVP_MD_CTX_free(context);
  if (std::string_view(algorithm()) == "ES256") signature = der_to_plain(signature);
  return input + '.' + encode_base64url(signature);
}

bool TokenKey::verify(std::string_view signing_input, std::string_view signature) const {
  const std::string der = std::string_view(algorithm()) == "ES256" ? plain_to_der(signature) : std::string(signature);
  if (der.empty()) return false;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool good =
      EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(context, bytes_of(der), der.size(), bytes_of(signing_input), signing_input.size()) == 1;
  EVP_MD_CTX_free(context);
  ERR_clear_error();
  return good;
}

nlohmann::json TokenKey::jwk() const {
  nlohmann::json out{{"use", "sig"}, {"kid", id_}, {"alg", algorithm()}};
  if (out["alg"] == "RS256") {
    out["kty"] = "RSA";
    out["n"] = encode_base64url(key_number(key_.get(), OSSL_PKEY_PARAM_RSA_N));
    out["e"] = encode_base64url(key_number(key_.get(), OSSL_PKEY_PARAM_RSA_E));
  } else {
    out["kty"] = "EC";
    out["crv"] = "P-256";
    out["x"] = encode_base64url(key_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, kHalf));
    out["y"] = encode_base64url(key_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, kHalf));
  }
  return out;
}

std::optional<Jwt> Jwt::parse(std::string_view token) {
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return std::nullopt;
  const auto header_text = decode_base64url(token.substr(0, first));
  const auto claims_text = decode_base64url(token.substr(first + 1, second - first - 1));
  auto signature = decode_base64url(token.substr(second + 1));
  if (!header_text || !claims_text || !signature || signature->empty()) return std::nullopt;
  const auto header = nlohmann::json::parse(*header_text, nullptr, false);
  Jwt jwt;
  jwt.claims = nlohmann::json::parse(*claims_text, nullptr, false);
  if (!header.is_object() || !jwt.claims.is_object()) return std::nullopt;
  const auto text = [&](const char* name) {
    const auto found = header.find(name);
    return found != header.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (header.contains("crit")) return std::nullopt;  // an extension that must be understood
  jwt.algorithm = text("alg");
  jwt.key_id = text("kid");
  jwt.signing_input = token.substr(0, second);
  jwt.signature = std::move(*signature);
  return jwt;
}

}  // namespace gantry::apigw

// The key that signs tokens: RS256 with RSA keys, ES256 with P-256 keys. Immutable, thread-safe.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace gantry::apigw {

/// A key that signs tokens, or the public half that checks them.
class TokenKey {
 public:
  /// From PEM: a private key (PKCS#1, PKCS#8, SEC1), a public key, or a certificate. kInvalid says what is wrong.
  static Result<TokenKey> from_pem(std::string_view pem);
  /// A new P-256 key.
  static TokenKey generate();

  bool can_sign() const { return private_; }
  const std::string& id() const { return id_; }  // the key's digest, "kid" of tokens
  const char* algorithm() const;                 // RS256 or ES256
  /// The compact form of a token with these claims. Only if can_sign().
  std::string sign(const nlohmann::json& claims) const;
  bool verify(std::string_view signing_input, std::string_view signature) const;
  /// As a member of a JWK set.
  nlohmann::json jwk() const;

 private:
  explicit TokenKey(std::shared_ptr<EVP_PKEY> key, bool is_private);
  std::shared_ptr<EVP_PKEY> key_;
  bool private_ = false;
  std::string id_;
};

}  // namespace gantry::apigw

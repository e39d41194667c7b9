// JSON Web Tokens in their compact form. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::apigw {

/// A token taken apart; nothing of it is checked yet.
struct Jwt {
  std::string algorithm, key_id;
  nlohmann::json claims;  // an object
  std::string_view signing_input;
  std::string signature;
  /// nullopt for what is not a token of three base64url parts with JSON objects. `token` outlives it.
  static std::optional<Jwt> parse(std::string_view token);
};

std::string encode_base64url(std::string_view bytes);
std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace gantry::apigw

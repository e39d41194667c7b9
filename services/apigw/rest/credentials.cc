#include "services/apigw/rest/credentials.h"

#include <algorithm>

#include "services/apigw/authn/jwt.h"

namespace gantry::apigw {
namespace {

constexpr std::string_view kExtra = "impersonate-extra-", kSocketToken = "base64url.bearer.authorization.k8s.io.";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// Anything that is not `Bearer <token>` is no credential of ours.
std::string bearer(std::string_view header) {
  const size_t space = header.find(' ');
  if (space == std::string_view::npos || lower(header.substr(0, space)) != "bearer") return {};
  std::string_view token = header.substr(space + 1);
  return std::string(token.substr(0, token.find(' ')));
}

// Browsers cannot set headers on WebSockets.
Result<std::string> socket_token(http::Request& request) {
  std::string token, others;
  for (const std::string_view protocol : request.websocket_protocols()) {
    if (!protocol.starts_with(kSocketToken)) {
      others += (others.empty() ? "" : ", ") + std::string(protocol);
      continue;
    }
    const auto decoded = decode_base64url(protocol.substr(kSocketToken.size()));
    if (!token.empty() || !decoded || decoded->empty())
      return Error{Code::kBadRequest, "the bearer token in Sec-WebSocket-Protocol cannot be read"};
    token = *decoded;
  }
  if (token.empty()) return token;
  if (others.empty())
    return Error{Code::kBadRequest, "Sec-WebSocket-Protocol must offer a protocol beside the bearer token"};
  request.headers.set("Sec-WebSocket-Protocol", others);
  return token;
}

}  // namespace

Result<Credentials> credentials_of(http::Request& request) {
  Credentials out;
  if (request.peer && !request.peer->common_name.empty())
    out.certificate = identity_of_user(request.peer->common_name, request.peer->organizations);
  if (const auto* header = request.headers.find("Authorization")) out.token = bearer(*header);
  if (out.token.empty() && request.headers.has("Sec-WebSocket-Protocol")) {
    auto token = socket_token(request);
    if (!token.ok()) return token.error();
    out.token = std::move(*token);
  }
  for (const auto& [name, value] : request.headers) {
    const std::string key = lower(name);
    if (!key.starts_with("impersonate-")) continue;
    auto& as = out.impersonation;
    if (key == "impersonate-user") as.user = value;
    if (key == "impersonate-uid") as.uid = value;
    if (key == "impersonate-group") as.groups.push_back(value);
    if (!key.starts_with(kExtra)) continue;
    // What is not percent-encoded stands for itself.
    as.extra[http::percent_decode(key.substr(kExtra.size())).value_or(key.substr(kExtra.size()))].push_back(value);
  }
  return out;
}

}  // namespace gantry::apigw

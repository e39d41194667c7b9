// Where a proxy request goes: which node dials which address. Loop's thread only.
#pragma once

#include <functional>
#include <string>

#include "libs/base/result.h"
#include "libs/bus/session.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

struct ProxyName {
  std::string scheme, name, port;  // scheme: "", http, https
};
/// `name`, `name:port`, `scheme:name:port`; nullopt otherwise.
std::optional<ProxyName> parse_proxy_name(std::string_view text);

struct ProxyTarget {
  std::string node;     // that dials
  std::string address;  // ip:port, or bus::kAgentAddress
  std::string host;     // for the Host header
  bool tls = false;
};
/// `resource` is pods, services or nodes; `id` as in the path. Authorization is the caller's. Errors in the API
/// server's words.
void find_proxy_target(Api& api, const std::string& resource, const std::string& ns, const std::string& id,
                       std::function<void(Result<ProxyTarget>)> done);

}  // namespace gantry::apigw

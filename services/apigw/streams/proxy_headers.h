// What a proxy changes on the way: the path, the headers of one hop, and redirects, as the API server does. Pure.
#pragma once

#include <string>

#include "libs/http/message.h"
#include "services/apigw/streams/proxy_target.h"

namespace gantry::apigw {

struct ProxyPaths {
  std::string prefix;  // of the request's path, up to and with /proxy
  std::string path;    // behind it, as sent: "" or "/..."
  std::string query;   // "" or "?..."
};
/// `target` as sent; it holds .../<resource>/<name>/proxy.
ProxyPaths split_proxy_path(const std::string& target);

/// The request's headers for the target: without those of one hop, credentials and impersonation; with X-Forwarded-*.
http::Headers forwarded_headers(const http::Request& request, const std::string& host);
/// The target's for the client: without those of one hop, a Location on the same host led back through the proxy.
http::Headers returned_headers(const http::Headers& headers, const http::Request& request, const ProxyTarget& target,
                               const ProxyPaths& paths);

}  // namespace gantry::apigw

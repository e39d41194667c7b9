#include "services/apigw/streams/proxy_headers.h"

#include <fmt/format.h>

namespace gantry::apigw {
namespace {

bool of_one_hop(std::string_view name, const http::Headers& headers) {
  for (const char* known : {"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
                            "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length"}) {
    if (http::iequals(name, known)) return true;
  }
  return headers.has_token("Connection", name);
}

std::string rewrite(const std::string& location, const http::Request& request, const ProxyTarget& target,
                    const ProxyPaths& paths) {
  std::string_view rest = location;
  if (auto scheme = rest.find("://"); scheme != std::string_view::npos && scheme < rest.find('/')) {
    rest.remove_prefix(scheme + 3);
    auto host = rest.substr(0, rest.find_first_of("/?#"));
    if (host != target.host && host != request.headers.get("Host")) return location;
    rest.remove_prefix(host.size());
  } else if (!rest.starts_with("/") || rest.starts_with("//")) {
    return location;
  }
  if (rest.starts_with(paths.prefix)) return location;
  return paths.prefix + (rest.starts_with("/") ? "" : "/") + std::string(rest);
}

}  // namespace

ProxyPaths split_proxy_path(const std::string& target) {
  ProxyPaths out;
  auto question = target.find('?');
  std::string path = target.substr(0, question);
  if (question != std::string::npos) out.query = target.substr(question);
  // /api/v1/nodes/<name>/proxy, or /api/v1/namespaces/<ns>/<resource>/<name>/proxy: what is asked behind it may hold
  // "proxy" too.
  size_t at = 0;
  int segments = path.find("/nodes/") == std::string("/api/v1").size() ? 5 : 7;
  for (int i = 0; i < segments && at != std::string::npos; ++i) {
    at = path.find('/', at + 1);
  }
  out.prefix = path.substr(0, at);
  if (at != std::string::npos) out.path = path.substr(at);
  return out;
}

http::Headers forwarded_headers(const http::Request& request, const std::string& host) {
  http::Headers out{{"Host", host}};
  for (const auto& [name, value] : request.headers) {
    if (of_one_hop(name, request.headers) || http::iequals(name, "Host") || http::iequals(name, "Authorization") ||
        http::iequals(name, "Expect") || name.starts_with("Impersonate-") || name.starts_with("impersonate-") ||
        name.starts_with(":")) {
      continue;
    }
    out.add(name, value);
  }
  auto from = request.remote_address.substr(0, request.remote_address.rfind(':'));
  std::string before(request.headers.get("X-Forwarded-For"));
  out.set("X-Forwarded-For", before.empty() ? from : before + ", " + from);
  out.set("X-Forwarded-Host", std::string(request.headers.get("Host")));
  out.set("X-Forwarded-Proto", request.secure ? "https" : "http");
  out.set("X-Forwarded-Uri", request.raw_path);
  if (request.is_upgrade) {
    out.set("Connection", "Upgrade");
    out.set("Upgrade", request.upgrade);
  } else {
    out.set("Connection", "close");
  }
  return out;
}

http::Headers returned_headers(const http::Headers& headers, const http::Request& request, const ProxyTarget& target,
                               const ProxyPaths& paths) {
  http::Headers out;
  for (const auto& [name, value] : headers) {
    if (of_one_hop(name, headers)) continue;
    out.add(name, http::iequals(name, "Location") ? rewrite(value, request, target, paths) : value);
  }
  return out;
}

}  // namespace gantry::apigw

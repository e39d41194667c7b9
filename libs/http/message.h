// What a request and a response are made of, the same for HTTP/1.1 and HTTP/2. Plain values: copy and move them freely.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/result.h"

namespace gantry::http {

/// ASCII case-insensitive equality, as header names and most tokens compare.
bool iequals(std::string_view a, std::string_view b);

/// Header fields in the order sent; names compare without case.
class Headers {
 public:
  using Entry = std::pair<std::string, std::string>;

  Headers() = default;
  Headers(std::initializer_list<Entry> entries) : entries_(entries) {}

  /// The first value, nullptr when absent. Valid until the next change.
  const std::string* find(std::string_view name) const;
  /// The first value, "" when absent.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// Every element of the comma separated lists under `name`, trimmed: `Connection: keep-alive, Upgrade`.
  std::vector<std::string_view> list(std::string_view name) const;
  /// Whether list(name) holds `token`, without case.
  bool has_token(std::string_view name, std::string_view token) const;

  void add(std::string name, std::string value) { entries_.emplace_back(std::move(name), std::move(value)); }
  /// Replaces every value of `name`.
  void set(std::string_view name, std::string value);
  void remove(std::string_view name);

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  /// The last entry, e.g. to append a folded line. Not empty().
  Entry& back() { return entries_.back(); }

 private:
  std::vector<Entry> entries_;
};

/// Query parameters, percent-decoded, in the order sent; names compare with case and may repeat
/// (`command=ls&command=-l`).
class Query {
 public:
  using Entry = std::pair<std::string, std::string>;

  /// From what follows the `?`. kBadRequest on a broken escape. `+` is a space.
  static Result<Query> parse(std::string_view raw);

  const std::string* find(std::string_view name) const;
  /// The first value, "" when absent.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  std::vector<std::string_view> all(std::string_view name) const;
  void add(std::string name, std::string value) { entries_.emplace_back(std::move(name), std::move(value)); }
  /// `a=1&b=%20`, without the `?`.
  std::string encode() const;

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

 private:
  std::vector<Entry> entries_;
};

/// Percent-decoding; nullopt on a broken escape or an encoded NUL. `plus_is_space` for queries.
std::optional<std::string> percent_decode(std::string_view raw, bool plus_is_space = false);
/// Percent-encodes all but RFC 3986's unreserved characters.
std::string percent_encode(std::string_view raw);
/// `/a/b%2Fc` -> {"a", "b/c"}; empty segments are dropped. nullopt on a broken escape.
std::optional<std::vector<std::string>> path_segments(std::string_view raw_path);

/// Who a verified client certificate names, as Kubernetes reads it: CN is the user, each O a group.
struct PeerCertificate {
  std::string common_name;
  std::vector<std::string> organizations;
  std::string serial;     // hexadecimal
  int64_t not_after = 0;  // seconds since 1970
};

enum class Version : uint8_t { kHttp10, kHttp11, kHttp2 };

/// A whole request: the body is complete and within the server's limit.
struct Request {
  std::string method;    // "GET", in upper case as sent
  std::string target;    // as sent, in origin form: path and query
  std::string raw_path;  // target up to the `?`
  std::string
      path;  // raw_path decoded: for matching fixed paths; use path_segments(raw_path) where a name may hold a slash
  Query query;
  Headers headers;  // HTTP/2's :authority is here as Host
  std::string body;
  std::shared_ptr<const PeerCertificate> peer;  // null without a client certificate; verified otherwise
  std::string remote_address;                   // "192.0.2.1:1234", "[::1]:1234"
  Version version = Version::kHttp11;
  bool secure = false;      // over TLS
  bool is_upgrade = false;  // HTTP/1.1 with Connection: Upgrade
  std::string upgrade;      // with is_upgrade: the protocol asked for, as sent: "websocket", "SPDY/3.1"

  /// What Sec-WebSocket-Protocol offers, in the client's order.
  std::vector<std::string_view> websocket_protocols() const { return headers.list("Sec-WebSocket-Protocol"); }
};

/// "OK", "Not Found"; "Unknown" for what has no name.
const char* status_text(int status);

}  // namespace gantry::http

// A DNS server for the Zone over UDP and TCP; what the zone does not have goes to upstream servers. Loop's thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "services/netproxy/dns/zone.h"

namespace gantry::netproxy {

/// The reply to one query as wire bytes; nullopt when the query must go upstream. `limit`: answers longer than this are
/// truncated (TC). Malformed queries get FORMERR, or an empty string when there is not even a header.
std::optional<std::string> answer_query(const Zone& zone, std::string_view query, size_t limit);
/// SERVFAIL (or REFUSED) for a query that no upstream answered.
std::string failure_reply(std::string_view query, uint8_t rcode);

struct DnsOptions {
  std::string listen = "10.96.0.10:53";  // port 0: any, see port()
  std::vector<std::string> upstream;  // IPs, port 53 unless given as ip:port; empty: names outside the zone are refused
  Duration upstream_timeout = std::chrono::seconds(2);
};

class DnsServer {
 public:
  /// `ready`: false answers SERVFAIL, so that clients ask again instead of taking NXDOMAIN from a zone that is not
  /// filled yet.
  static Result<std::unique_ptr<DnsServer>> start(UvLoop& loop, const Zone& zone, DnsOptions options,
                                                  std::function<bool()> ready);
  virtual ~DnsServer() = default;
  virtual uint16_t port() const = 0;
  struct Counters {
    uint64_t queries = 0, forwarded = 0, failed = 0;
  };
  virtual const Counters& counters() const = 0;
};

}  // namespace gantry::netproxy

// The cluster's names, as in the Kubernetes DNS specification 1.1.0: A and SRV records of Services and of the pods
// behind headless ones, CNAME of ExternalName Services, PTR of their addresses. A pure function of the projections.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libs/projection/cache.h"

namespace gantry::netproxy {

struct Record {
  enum class Type : uint16_t { kA = 1, kCname = 5, kSoa = 6, kPtr = 12, kAaaa = 28, kSrv = 33, kAny = 255 };
  Type type = Type::kA;
  std::string name;    // fully qualified, lower case, with the final dot
  std::string target;  // address, or name with the final dot
  uint16_t port = 0;   // SRV
  bool operator==(const Record&) const = default;
};

struct Lookup {
  enum class Outcome : uint8_t { kFound, kNoData, kNoName, kNotOurs };
  Outcome outcome = Outcome::kNotOurs;
  std::vector<Record> answers, additional;
};

class Zone {
 public:
  /// The caches outlive the zone; slices must have the index of add_service_index(), services that of
  /// add_address_index().
  Zone(const projection::Cache& services, const projection::Cache& slices, std::string domain);
  /// `name` in any case, with or without the final dot. kNotOurs: forward it upstream.
  Lookup find(std::string_view name, Record::Type type) const;
  const std::string& domain() const { return domain_; }

  static constexpr const char* kByAddress = "address";
  static void add_address_index(projection::Cache& services);

 private:
  Lookup service(const std::string& name, const std::vector<std::string_view>& labels, Record::Type type) const;
  Lookup reverse(const std::string& name, Record::Type type) const;
  const projection::Cache& services_;
  const projection::Cache& slices_;
  std::string domain_;  // cluster.local
};

}  // namespace gantry::netproxy

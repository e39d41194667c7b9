// What this machine is: read once at start.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

struct Machine {
  std::string machine_id, boot_id, kernel, os_image, architecture;
  int64_t cpus = 0, memory_bytes = 0;
};
Machine read_machine();

/// The machine's own resolv.conf.
DnsSettings parse_resolv_conf(const std::string& text);
DnsSettings host_dns();

/// The address that this machine uses toward `peer` (an address or name with or without scheme and port), else its
/// first that is not loopback. Empty without any.
std::string own_address(const std::string& peer);

/// `cpu=2,memory=4Gi,pods=110`; what is not said is the machine's. kInvalid names what cannot be read.
Result<std::map<std::string, std::string>> parse_capacity(const std::string& text, const Machine& machine);

}  // namespace gantry::nodeagent

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

/// Huge pages, as the machine has them set aside: hugepages-2Mi -> 0. Added where --capacity does not say.
std::map<std::string, std::string> huge_pages(const std::string& directory = "/sys/kernel/mm/hugepages");
/// Bytes of the disk on which `path` lies; 0 when it cannot be told.
int64_t disk_bytes(const std::string& path);

/// `a=b,c=d`, for labels and reserved amounts. kInvalid names what cannot be read; `flag` is for its message.
Result<std::map<std::string, std::string>> parse_pairs(const char* flag, const std::string& text);
/// `key=value:NoSchedule,key:NoExecute`.
struct TaintText {
  std::string key, value, effect;
};
Result<std::vector<TaintText>> parse_taints(const std::string& text);

/// What pods may have: the capacity less each amount that is reserved (cpu, memory, ephemeral-storage), never below 0.
std::map<std::string, std::string> allocatable(const std::map<std::string, std::string>& capacity,
                                               const std::vector<std::map<std::string, std::string>>& reserved);

}  // namespace gantry::nodeagent

#include "services/nodeagent/node/machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "libs/model/quantity.h"

namespace gantry::nodeagent {

namespace {

constexpr char kDefaultPods[] = "110";

std::string read_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string host_of(std::string peer) {
  if (auto scheme = peer.find("://"); scheme != std::string::npos) peer.erase(0, scheme + 3);
  if (auto end = peer.find_first_of("/,"); end != std::string::npos) peer.resize(end);
  if (auto colon = peer.rfind(':'); colon != std::string::npos) peer.resize(colon);
  return peer;
}

// Connecting a datagram socket sends nothing, but picks the source address.
std::string source_toward(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  if (host.empty() || getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return "";
  std::string out;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in own{};
  socklen_t size = sizeof own;
  if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0) {
    char text[INET_ADDRSTRLEN];
    if (inet_ntop(AF_INET, &own.sin_addr, text, sizeof text) != nullptr) out = text;
  }
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return out.rfind("127.", 0) == 0 ? "" : out;
}

}  // namespace

Machine read_machine() {
  Machine m;
  m.machine_id = read_line("/etc/machine-id");
  m.boot_id = read_line("/proc/sys/kernel/random/boot_id");
  utsname names{};
  uname(&names);
  m.kernel = names.release;
  m.architecture = std::string(names.machine) == "x86_64"    ? "amd64"
                   : std::string(names.machine) == "aarch64" ? "arm64"
                                                             : names.machine;
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);) {
    constexpr std::string_view kName = "PRETTY_NAME=";
    if (line.rfind(kName, 0) != 0) continue;
    m.os_image = line.substr(kName.size());
    std::erase(m.os_image, '"');
  }
  m.cpus = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  m.memory_bytes = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  return m;
}

DnsSettings parse_resolv_conf(const std::string& text) {
  DnsSettings out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key;
    auto* list = key == "nameserver" ? &out.servers : key == "options" ? &out.options : nullptr;
    if (key == "search" || key == "domain") {
      out.searches.clear();  // the last one counts
      list = &out.searches;
    }
    while (list != nullptr && words >> value) list->push_back(value);
  }
  return out;
}

DnsSettings host_dns() {
  std::ifstream in("/etc/resolv.conf");
  return parse_resolv_conf({std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()});
}

std::string own_address(const std::string& peer) {
  if (auto address = source_toward(host_of(peer)); !address.empty()) return address;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "";
  std::string out;
  for (auto* i = all; i != nullptr && out.empty(); i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) != 0 ||
        (i->ifa_flags & IFF_UP) == 0)
      continue;
    char text[INET_ADDRSTRLEN];
    if (inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text) != nullptr)
      out = text;
  }
  freeifaddrs(all);
  return out;
}

Result<std::map<std::string, std::string>> parse_capacity(const std::string& text, const Machine& machine) {
  std::map<std::string, std::string> out{{"cpu", std::to_string(machine.cpus)},
                                         {"memory", fmt::format("{}Ki", machine.memory_bytes / 1024)},
                                         {"pods", kDefaultPods}};
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    auto equals = entry.find('=');
    if (equals == std::string::npos)
      return Error{Code::kInvalid, fmt::format("--capacity: \"{}\" is not <resource>=<quantity>", entry)};
    auto value = model::Quantity::parse(entry.substr(equals + 1));
    if (!value.ok()) return Error{Code::kInvalid, fmt::format("--capacity: {}: {}", entry, value.error().message)};
    out[entry.substr(0, equals)] = value->to_string();
  }
  return out;
}

}  // namespace gantry::nodeagent

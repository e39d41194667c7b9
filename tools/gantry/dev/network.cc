#include "tools/gantry/dev/network.h"

#include <fmt/format.h>
#include <net/if.h>

#include <filesystem>
#include <sstream>

#include "tools/gantry/dev/config.h"
#include "tools/gantry/dev/process.h"

namespace gantry::dev {
namespace {

constexpr const char* kPrefix = "gantry-";
constexpr int kFirstNode = 10;

/// A namespace and the last byte of its address, which is also the number of its link.
struct Leg {
  std::string name;
  int number;
  std::string link() const { return fmt::format("gantry-{}", number); }
  std::string address() const { return fmt::format("172.30.0.{}", number); }
};

std::vector<Leg> legs(int nodes) {
  std::vector<Leg> out = {{"controllers", 5}, {"scheduler", 6}};
  for (int i = 1; i <= nodes; ++i) out.push_back({node_name(i), kFirstNode + i});
  return out;
}

/// "inet gantry-services" for each table of ours.
std::vector<std::string> tables() {
  std::vector<std::string> out;
  auto text = run({"nft", "list", "tables"});
  if (!text) return out;
  std::stringstream lines(*text);
  for (std::string word, family, name; lines >> word >> family >> name;) {
    if (name.starts_with("gantry")) out.push_back(family + " " + name);
  }
  return out;
}

Status all(const std::vector<std::vector<std::string>>& commands) {
  for (const auto& command : commands) {
    if (auto done = run(command); !done) return done.error();
  }
  return Done{};
}

Status ensure_bridge() {
  if (if_nametoindex(kBridge) != 0) return Done{};
  return all({{"ip", "link", "add", kBridge, "type", "bridge"},
              {"ip", "address", "add", fmt::format("{}/24", kBridgeAddress), "dev", kBridge},
              {"ip", "link", "set", kBridge, "up"}});
}

Status ensure_leg(const Leg& leg) {
  const std::string space = kPrefix + leg.name;
  if (!std::filesystem::exists("/run/netns/" + space)) {
    if (auto made = run({"ip", "netns", "add", space}); !made) return made.error();
  }
  if (if_nametoindex(leg.link().c_str()) != 0) return Done{};
  const auto in = [&](std::vector<std::string> rest) {
    std::vector<std::string> command{"nsenter", "--net=/run/netns/" + space};
    command.insert(command.end(), rest.begin(), rest.end());
    return command;
  };
  return all({{"ip", "link", "add", leg.link(), "type", "veth", "peer", "name", "eth0", "netns", space},
              {"ip", "link", "set", leg.link(), "master", kBridge, "up"},
              in({"ip", "link", "set", "lo", "up"}),
              in({"ip", "address", "add", leg.address() + "/24", "dev", "eth0"}),
              in({"ip", "link", "set", "eth0", "up"}),
              in({"ip", "route", "replace", "default", "via", kBridgeAddress}),
              in({"sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                  "net.ipv4.conf.default.rp_filter=0"})});
}

}  // namespace

std::string node_name(int number) { return fmt::format("node-{}", number); }
std::string node_address(int number) { return fmt::format("172.30.0.{}", kFirstNode + number); }
std::string network_namespace(const std::string& name) { return "/run/netns/" + (kPrefix + name); }

std::vector<std::string> network_namespaces() {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns", error)) {
    if (entry.path().filename().string().starts_with(kPrefix)) out.push_back(entry.path());
  }
  return out;
}

Status ensure_network(int nodes) {
  if (auto made = ensure_bridge(); !made) return made;
  for (const auto& leg : legs(nodes)) {
    if (auto made = ensure_leg(leg); !made) return made;
  }
  // To every node alike, as a router in front of them would.
  std::vector<std::string> route{"ip", "route", "replace", kLoadBalancers};
  for (int i = 1; i <= nodes; ++i) route.insert(route.end(), {"nexthop", "via", node_address(i)});
  return all({route});
}

Status set_link(const std::string& name, bool up) {
  for (const auto& leg : legs(kMaxNodes)) {
    if (leg.name == name && if_nametoindex(leg.link().c_str()) != 0) {
      return all({{"ip", "link", "set", leg.link(), up ? "up" : "down"}});
    }
  }
  return Error{.code = Code::kNotFound, .message = fmt::format("{} has no network of its own", name)};
}

void remove_network() {
  for (const auto& file : network_namespaces()) {
    if (auto done = run({"ip", "netns", "delete", std::filesystem::path(file).filename()}); !done) {
      LOG(WARNING) << done.error().message;
    }
  }
  // A namespace's end takes its veth pair with it, a moment later; deleting the bridge does not wait for that.
  for (const auto& leg : legs(kMaxNodes)) {
    if (if_nametoindex(leg.link().c_str()) != 0) (void)run({"ip", "link", "delete", leg.link()});
  }
  if (if_nametoindex(kBridge) != 0) {
    if (auto done = run({"ip", "link", "delete", kBridge}); !done) LOG(WARNING) << done.error().message;
  }
  for (const auto& table : tables()) {
    std::stringstream words(table);
    std::string family, name;
    words >> family >> name;
    if (auto done = run({"nft", "delete", "table", family, name}); !done) LOG(WARNING) << done.error().message;
  }
}

std::vector<std::string> network_leftovers() {
  std::vector<std::string> out;
  for (const auto& file : network_namespaces()) out.push_back("network namespace " + file);
  for (const auto& table : tables()) out.push_back("nftables table " + table);
  struct if_nameindex* links = if_nameindex();
  for (auto* link = links; link != nullptr && link->if_index != 0; ++link) {
    if (std::string_view(link->if_name).starts_with("gantry"))
      out.push_back(fmt::format("network link {}", link->if_name));
  }
  if_freenameindex(links);
  return out;
}

}  // namespace gantry::dev

// gantry-netproxy: Services, names and routes on one node.
#include <CLI/CLI.hpp>
#include <fstream>

#include "libs/service/service.h"
#include "services/netproxy/proxy.h"

namespace {

using namespace gantry;  // NOLINT(google-build-using-namespace)

/// The nameservers of /etc/resolv.conf that are not our own.
std::vector<std::string> system_nameservers(const std::string& own) {
  std::vector<std::string> out;
  std::ifstream file("/etc/resolv.conf");
  for (std::string word, ip; file >> word;) {
    if (word == "nameserver" && file >> ip && ip.find(':') == std::string::npos && ip != own) out.push_back(ip);
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  service::Service service("netproxy", "Forwards Services, answers cluster DNS and connects the pods of all nodes");
  netproxy::ProxyConfig config;
  std::string overlay = "vxlan";
  auto& flags = service.flags();
  flags.add_option("--node", config.node, "The node that this runs on")->required();
  flags.add_option("--cluster-cidr", config.cluster_cidr, "The network of all pods")->capture_default_str();
  flags.add_option("--overlay", overlay, "How pods reach other nodes: vxlan, or routes where all nodes share a link")
      ->check(CLI::IsMember({"vxlan", "routes"}))
      ->capture_default_str();
  flags.add_option("--dns-listen", config.dns_listen,
                   "IP:PORT of cluster DNS; the IP is made this node's own. Empty: no DNS");
  flags.add_option("--dns-upstream", config.dns_upstream, "Where other names are asked (default: /etc/resolv.conf)");
  flags.add_option("--cluster-domain", config.cluster_domain, "The domain of cluster names")->capture_default_str();
  return service.run(argc, argv, [&](service::Service& s) -> Status {
    config.overlay = overlay == "routes" ? netproxy::OverlayMode::kRoutes : netproxy::OverlayMode::kVxlan;
    if (config.dns_upstream.empty()) {
      config.dns_upstream = system_nameservers(config.dns_listen.substr(0, config.dns_listen.find(':')));
    }
    auto proxy = s.keep(std::make_shared<netproxy::Proxy>(s.loop(), s.bus(), s.commands(), config));
    s.add_ready("rules", [proxy = proxy.get()] { return proxy->ready(); });
    s.metrics().collect([&s, proxy = proxy.get()] {
      s.metrics().counter("gantry_netproxy_updates_total", "Transactions applied.").set(proxy->counters().applied);
      s.metrics().counter("gantry_netproxy_failures_total", "Transactions that failed.").set(proxy->counters().failed);
    });
    return proxy->start();
  });
}

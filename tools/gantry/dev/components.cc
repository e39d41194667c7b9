#include "tools/gantry/dev/components.h"

#include <fmt/format.h>

#include "libs/state/redis_start.h"
#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/network.h"

namespace gantry::dev {
namespace {

// On 127.0.0.1: of the machine for nats and apigw, of their own network namespace for the others.
constexpr int kNatsMonitor = 8222, kApigwHealth = 7001, kControllersHealth = 7002, kSchedulerHealth = 7003,
              kAgentHealth = 7004, kProxyHealth = 7005;

class Builder {
 public:
  Builder(const Paths& paths, const Cluster& cluster) : paths_(paths), cluster_(cluster) {}

  Result<std::vector<Component>> build() {
    auto password = read_file(paths_.redis() / "apigw.password");
    if (!password) return password.error();
    add("redis",
        {"sh", "-c", state::kStartRedis, "redis-start", (paths_.redis() / "data").string(),
         (paths_.redis() / "redis.conf").string()},
        {}, {.kind = Probe::Kind::kRedis, .socket = paths_.redis_socket(), .user = "apigw", .password = *password});
    add("nats", {"nats-server", "-c", (paths_.nats() / "server.conf").string()}, {}, http(kNatsMonitor, "/healthz"));
    add("apigw",
        service("gantry-apigw", "apigw", kApigwHealth,
                {"--redis",
                 "unix:" + paths_.redis_socket().string(),
                 "--redis-user",
                 "apigw",
                 "--redis-password-file",
                 (paths_.redis() / "apigw.password").string(),
                 "--listen",
                 "127.0.0.1:6443",
                 "--listen",
                 kGatewayAddress,
                 "--tls-cert",
                 paths_.pki("apigw.crt"),
                 "--tls-key",
                 paths_.pki("apigw.key"),
                 "--client-ca",
                 paths_.pki("ca.crt"),
                 "--service-account-signing-key-file",
                 paths_.pki("service-accounts.key"),
                 "--service-cidr",
                 kServiceCidr,
                 "--node-port-range",
                 "30000-32767",
                 "--advertise-address",
                 kGatewayAddress}),
        {"redis", "nats"}, http(kApigwHealth, "/readyz"));
    for (const auto& [name, port] :
         {std::pair("controllers", kControllersHealth), std::pair("scheduler", kSchedulerHealth)}) {
      const std::string space = network_namespace(name);
      std::vector<std::string> more;
      if (port == kControllersHealth)
        more = {"--root-ca-file",
                paths_.pki("ca.crt"),
                "--cluster-signing-cert-file",
                paths_.pki("ca.crt"),
                "--cluster-signing-key-file",
                paths_.pki("ca.key"),
                "--load-balancer-range",
                kLoadBalancers};
      add(name, service(fmt::format("gantry-{}", name), name, port, std::move(more)), {"apigw"},
          http(port, "/readyz", space), space);
    }
    for (int i = 1; i <= cluster_.nodes; ++i) add_node(node_name(i));
    return std::move(out_);
  }

 private:
  static Probe http(int port, std::string path, std::string network_namespace = "") {
    return {.kind = Probe::Kind::kHttp,
            .port = port,
            .path = std::move(path),
            .network_namespace = std::move(network_namespace)};
  }

  std::vector<std::string> service(const std::string& binary, const std::string& identity, int health_port,
                                   std::vector<std::string> more) {
    std::vector<std::string> command{cluster_.binaries + "/" + binary,
                                     "--nats-url",
                                     kNatsUrl,
                                     "--nats-ca",
                                     paths_.pki("ca.crt"),
                                     "--nats-creds",
                                     paths_.creds(identity),
                                     "--identity",
                                     identity,
                                     "--health-listen",
                                     fmt::format("127.0.0.1:{}", health_port)};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  void add(std::string name, std::vector<std::string> command, std::vector<std::string> after, Probe ready,
           std::string network_namespace = "") {
    Component component{.name = std::move(name), .spawn = {}, .after = std::move(after), .ready = std::move(ready)};
    component.spawn = {.command = std::move(command),
                       .environment = {},
                       .log = paths_.log(component.name),
                       .network_namespace = std::move(network_namespace)};
    out_.push_back(std::move(component));
  }

  void add_node(const std::string& node) {
    const std::string space = network_namespace(node);
    const auto dir = paths_.node(node);
    const std::string socket = paths_.containerd_socket(node);
    add(node + ".containerd", {"containerd", "-c", (dir / "containerd.toml").string()}, {},
        {.kind = Probe::Kind::kSocket, .socket = socket}, space);
    add(node + ".agent",
        service("gantry-nodeagent", "node-" + node, kAgentHealth,
                {"--node", node, "--containerd", "unix://" + socket, "--root", (dir / "agent").string(), "--capacity",
                 cluster_.capacity, "--cluster-dns", kClusterDns, "--cluster-domain", "cluster.local", "--cni-conf-dir",
                 (dir / "cni/net.d").string(), "--cni-bin-dir", "/usr/lib/cni", "--cgroup-parent",
                 "/gantry/" + node + "/pods",
                 // The machine's disk is everybody's: only when it is really full do pods of a dev cluster go.
                 "--eviction-hard", "memory.available<50Mi,nodefs.available<1%,imagefs.available<1%",
                 // What is put here runs without the API; SIGPWR ends the node's pods as if the machine were to stop.
                 "--static-pods", (dir / "manifests").string(), "--shutdown-grace-period", "8",
                 "--shutdown-grace-period-critical-pods", "4"}),
        {"apigw", node + ".containerd"}, http(kAgentHealth, "/readyz", space), space);
    add(node + ".csi",
        {cluster_.binaries + "/gantry-csi-hostpath", "--node", node, "--root", (dir / "csi").string(), "--socket",
         (dir / "csi.sock").string(), "--registry", (dir / "agent/plugins_registry").string()},
        {}, {.kind = Probe::Kind::kSocket, .socket = (dir / "csi.sock").string()});
    add(node + ".proxy",
        service("gantry-netproxy", "netproxy-" + node, kProxyHealth,
                {"--node", node, "--dns-listen", fmt::format("{}:53", kClusterDns)}),
        {"apigw"}, http(kProxyHealth, "/readyz", space), space);
  }

  const Paths& paths_;
  const Cluster& cluster_;
  std::vector<Component> out_;
};

}  // namespace

Result<std::vector<Component>> components(const Paths& paths, const Cluster& cluster) {
  return Builder(paths, cluster).build();
}

}  // namespace gantry::dev

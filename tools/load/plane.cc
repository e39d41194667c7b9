// A control plane for others to use, until it is told to end.
#include <fmt/format.h>

#include <csignal>

#include "tools/load/hollow.h"

namespace gantry::load {

Status run_plane(const HollowOptions& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  Cluster cluster(options.cluster);
  if (auto done = cluster.start_control_plane(); !done) return done;
  if (options.nodes > 0) {
    if (auto done = cluster.start_hollow(options.nodes, options.capacity); !done) return done;
  }
  {
    auto gateway = client::Gateway::connect(cluster.connect_options());
    if (!gateway) return gateway.error();
    if (auto done = await_gateway(**gateway, cluster); !done) return done;
  }
  fmt::print("kubeconfig {}\n", cluster.paths().kubeconfig().string());
  for (int i = 0; i < options.cluster.gateways; ++i) {
    const auto name = Cluster::gateway_name(i);
    fmt::print("{} https://127.0.0.1:{} pid {}\n", name, cluster.https_port(i), cluster.pid(name));
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  return Done{};
}

}  // namespace gantry::load

// A control plane of its own with hollow nodes, on loopback and a unix socket: no root, no network namespaces, beside
// whatever else runs. Keys and configuration come from the dev cluster's code.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "libs/base/result.h"
#include "tools/gantry/client/gateway.h"
#include "tools/gantry/dev/paths.h"
#include "tools/gantry/dev/process.h"

namespace gantry::load {

struct ClusterOptions {
  std::string binaries;  // folder of gantry-apigw and the others
  std::string dir;       // made if missing
  int port_base = 24'200;
  int gateways = 1;  // apigw processes
  int nodes = 0;     // real ones that get credentials: node-1, ...
};

/// What a process has used so far.
struct Usage {
  std::string name;
  double rss_mb = 0, private_mb = 0;  // all that is resident; what is its own
  double cpu_seconds = 0;
};

/// One thread. Ends its processes when destroyed, and on SIGTERM and SIGINT, which it takes for the program: make it
/// before any other thread.
class Cluster {
 public:
  explicit Cluster(ClusterOptions options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Status start_control_plane();
  Status start_hollow(int nodes, const std::string& capacity);
  /// The agent of a real node, one at a time; `flags`: those that are not the bus's.
  Status start_agent(const std::string& node, std::vector<std::string> flags);
  /// kill -9, and back when it is gone; nothing when there is no such process. It can be started again.
  void kill9(const std::string& name);
  /// kUnavailable when one of them has ended: the message names it and its log.
  Status check() const;
  std::vector<Usage> usage() const;
  client::ConnectOptions connect_options() const;
  static std::string gateway_name(int number);
  /// Where gateway `number` (from 0) speaks HTTPS, on 127.0.0.1.
  int https_port(int number = 0) const;
  /// What one of `usage()`'s processes has used; zeros when it has ended.
  Usage usage(const std::string& name) const;
  pid_t pid(const std::string& name) const;
  const dev::Paths& paths() const { return paths_; }

 private:
  struct Running {
    std::string name;
    dev::ProcessId process;
  };
  void end_on_signal();
  void stop_all();
  Status write_files();
  Status start(const std::string& name, std::vector<std::string> command);
  Status start_service(const std::string& name, const std::string& program, const std::string& identity,
                       const std::string& creds, int port, std::vector<std::string> more);
  Status start_gateway(int number);
  std::string nats_url() const;

  ClusterOptions options_;
  dev::Paths paths_;
  std::mutex mutex_;  // of running_ and ended_, which a signal's thread reads; only this thread changes them
  std::vector<Running> running_;
  bool ended_ = false;
  std::thread signals_;
};

}  // namespace gantry::load

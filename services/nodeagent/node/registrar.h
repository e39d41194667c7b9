// This node in the API: its Node object and its conditions, its heartbeat and its Lease.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/projection/cache.h"
#include "services/nodeagent/agent/sequence.h"
#include "services/nodeagent/node/machine.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct RegistrarOptions {
  std::string node, address;
  std::map<std::string, std::string> capacity, labels;
  std::map<std::string, std::string> allocatable;  // what is not said is as the capacity
  struct Taint {
    std::string key, value, effect;
  };
  std::vector<Taint> taints;  // given when the node is created
  Machine machine;
  std::string version;  // kubeletVersion
  Duration heartbeat_period = std::chrono::seconds(5);
  Duration lease_period = std::chrono::seconds(60);
  Duration status_period = std::chrono::minutes(5);
};

/// Creates the Node when it is not there (again, should somebody delete it), keeps its status true, beats. The node is
/// Ready when the runtime is and its network is configured. Loop's thread only; everything passed by reference outlives
/// it.
class Registrar {
 public:
  Registrar(Loop& loop, bus::Bus& bus, bus::Commands& commands, projection::Cache& nodes, Runtime& runtime,
            Sequence& sequence, RegistrarOptions options);

  void start();
  /// Called once for each new pod CIDR; an error keeps the node NotReady with its message, and is tried again.
  void on_pod_cidr(std::function<Status(const std::string& cidr)> configure) { configure_ = std::move(configure); }
  /// Called with the uid of the Node whenever it is (made) anew.
  void on_registered(std::function<void(const std::string& uid)> registered) { on_registered_ = std::move(registered); }
  void set_runtime(bool connected, const std::string& why);
  /// The node goes: it is not ready for this reason from now on.
  void set_leaving(std::string why) {
    leaving_ = std::move(why);
    check();
  }
  void set_pressure(bool memory, bool disk, bool pid);
  /// What the node's status lists: the largest fifty.
  void set_images(std::vector<Image> images);
  const RuntimeStatus& runtime_status() const { return runtime_status_; }
  const std::map<std::string, std::string>& allocatable() const { return options_.allocatable; }
  bool ready() const { return ready_; }
  const std::string& reason() const { return reason_; }
  bool registered() const { return registered_; }

 private:
  void create();
  void on_node(const model::Object& node);
  void configure();
  void check();
  void report();
  void on_reported(const Result<bus::CommandOutcome>& outcome);
  void beat();
  void renew(bool create);
  model::Bytes render(bool with_status) const;
  template <typename F>
  auto guard(F f) {
    return [weak = std::weak_ptr<bool>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Loop& loop_;
  bus::Bus& bus_;
  bus::Commands& commands_;
  projection::Cache& nodes_;
  Runtime& runtime_;
  Sequence& sequence_;
  RegistrarOptions options_;
  std::function<Status(const std::string&)> configure_;
  std::function<void(const std::string&)> on_registered_;
  std::string uid_;
  std::string pod_cidr_, network_error_ = "the node has no pod CIDR yet";
  RuntimeStatus runtime_status_;
  bool connected_ = false, registered_ = false, ready_ = false, creating_ = false, reporting_ = false,
       report_again_ = false;
  bool memory_pressure_ = false, disk_pressure_ = false, pid_pressure_ = false;
  std::vector<Image> images_;
  std::string reason_ = "starting";
  std::string leaving_;
  int64_t transition_ = 0;
  uint64_t beats_ = 0;
  Timer heartbeat_, lease_, status_, check_, retry_, create_retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

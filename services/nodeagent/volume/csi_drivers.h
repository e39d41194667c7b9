// The CSI drivers of this node. A driver makes itself known by a socket in <root>/plugins_registry (Kubernetes' plugin
// registration v1); it is asked what it can do, and the node's CSINode object and topology labels tell the cluster.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "libs/bus/command.h"
#include "services/nodeagent/volume/csi_transport.h"

namespace gantry::nodeagent {

struct CsiDriver {
  std::string name, socket, node_id;
  std::map<std::string, std::string> topology;
  int64_t max_volumes = 0;  // 0: not said
  bool stages = false, expands = false, stats = false, mounts_group = false, single_writer = false;
  bool operator==(const CsiDriver&) const = default;
};

/// Loop's thread only; everything passed by reference outlives it.
class CsiDrivers {
 public:
  CsiDrivers(Loop& loop, CsiTransport& transport, bus::Commands& commands, std::string node, std::string registry)
      : loop_(loop),
        transport_(transport),
        commands_(commands),
        node_(std::move(node)),
        registry_(std::move(registry)) {}

  /// Looks at the registry: call once to begin, then whenever something changed in it. A registration that fails is
  /// tried again.
  void scan();
  /// Called after a driver came.
  void on_registered(std::function<void(const std::string& driver)> callback) { registered_ = std::move(callback); }

  const CsiDriver* find(const std::string& name) const;
  size_t size() const { return drivers_.size(); }
  /// kNotFound in Kubernetes' words when the driver is not here.
  void call(const std::string& driver, const std::string& method, std::string request, Duration deadline,
            std::function<void(Result<std::string>)> done);
  /// A request from the control plane (JSON: driver, method, request), and its answer (response, or code and error).
  void serve(std::string_view request, std::function<void(std::string)> done);

 private:
  struct Registration {
    std::string driver;  // "" until it is known
    bool busy = false;
    Timer retry;
  };
  void begin(const std::string& socket);
  void ask(const std::string& socket, CsiDriver driver);
  void finish(const std::string& socket, Result<CsiDriver> driver);
  void publish();
  void publish_topology();

  Loop& loop_;
  CsiTransport& transport_;
  bus::Commands& commands_;
  std::string node_, registry_;
  std::function<void(const std::string&)> registered_;
  std::map<std::string, Registration> sockets_;  // by path in the registry
  std::map<std::string, CsiDriver> drivers_;     // by name
  bool publishing_ = false, publish_again_ = false, published_ = false;
  Timer retry_, retry_labels_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

// The driver's gRPC services.
#pragma once

#include <memory>
#include <string>

#include "libs/base/result.h"

namespace gantry::csi_hostpath {

struct Options {
  std::string name = "hostpath.csi.gantry.dev";
  std::string root, node, socket, registry;
};
/// The topology key: a volume is where its node's name is this label's value.
std::string topology_key(const Options& options);

/// Serves until destroyed. Any thread.
class Driver {
 public:
  /// kInvalid for a root that cannot be used; kUnavailable when a socket cannot be listened on.
  static Result<std::unique_ptr<Driver>> start(const Options& options);
  virtual ~Driver() = default;
};

}  // namespace gantry::csi_hostpath

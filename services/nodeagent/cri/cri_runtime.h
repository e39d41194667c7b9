// Runtime on containerd: CRI v1 for sandboxes, containers and images, containerd's own events and tasks for changes and
// exec.
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct CriOptions {
  std::string socket;               // path of containerd's socket
  std::string exec_directory;       // FIFOs of exec sessions; emptied at start
  std::string ipam_directory = {};  // where CNI's host-local notes addresses; "": not looked after
};

/// containerd may be away at any time: calls answer kUnavailable, and Events::disconnected and connected tell. The loop
/// outlives it.
std::unique_ptr<Runtime> make_cri_runtime(UvLoop& loop, CriOptions options);

}  // namespace gantry::nodeagent

// What containerd left behind when it died in the middle of something: shims, network namespaces and addresses that no
// container of it has.
#pragma once

#include <map>
#include <set>
#include <string>

#include "cri.grpc.pb.h"
#include "services/nodeagent/cri/exec.h"

namespace gantry::nodeagent {

/// Looks when a connection to containerd begins or a sandbox has gone, and once more some seconds later: what was there
/// at the first look and belongs to nobody at either goes. What is being made meanwhile is too young to be taken for
/// that. Namespaces are looked for only where containerd keeps them in its own state directory
/// (netns_mounts_under_state_dir). Loop's thread only; what is passed by reference outlives it.
class Orphans {
 public:
  /// `ipam_directory`: host-local's dataDir, "" for none.
  Orphans(ExecServices& services, runtime::v1::RuntimeService::Stub& runtime, std::string socket,
          std::string ipam_directory)
      : services_(services), runtime_(runtime), socket_(std::move(socket)), ipam_(std::move(ipam_directory)) {}
  void connected();
  void removed();

 private:
  struct Found {
    std::map<std::string, pid_t> shims;            // container id -> process
    std::set<std::string> namespaces;              // paths
    std::map<std::string, std::string> addresses;  // path -> container id
  };
  void look(bool last);
  void judge(const containerd::services::containers::v1::ListContainersResponse& containers, bool last);
  Found find() const;

  ExecServices& services_;
  runtime::v1::RuntimeService::Stub& runtime_;
  std::string socket_, ipam_, namespaces_;
  Found suspects_;
  bool looking_ = false, again_ = false;
  Timer timer_;
};

}  // namespace gantry::nodeagent

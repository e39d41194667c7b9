// A containerd of its own for a test: own root, state, socket, CNI and cgroup, in a temporary directory that goes with
// it.
#pragma once

#include <sys/types.h>

#include <string>

#include "libs/base/result.h"

namespace gantry::testing {

class Containerd {
 public:
  /// Starts it, waits until it answers and imports gantry.local/{pause,busybox}:1 (build target `images`).
  static Result<std::unique_ptr<Containerd>> start();
  /// Removes what still runs, ends it and deletes the directory.
  ~Containerd();

  const std::string& directory() const { return directory_; }
  std::string socket() const { return directory_ + "/containerd.sock"; }
  std::string cgroup() const { return cgroup_; }
  /// What the addresses of its pods begin with, and no other test's do: "10.199.7."
  const std::string& subnet() const { return subnet_; }
  /// Pods' network: ptp with host-local, written before the start.
  std::string cni_directory() const { return directory_ + "/cni"; }
  void kill9();
  Status restart();
  /// Runs `ctr` on it; the output, or "" when it failed.
  std::string ctr(const std::string& arguments) const;
  /// Shims, mounts and network namespaces that are still there.
  std::string leftovers() const;

 private:
  Containerd() = default;
  Status spawn();
  std::string directory_, cgroup_, subnet_;
  int subnet_lock_ = -1;
  pid_t pid_ = -1;
};

}  // namespace gantry::testing

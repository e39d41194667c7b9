// The cgroups above containers: one for each QoS class and one a pod, as the machine has them (v1 or v2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Blocks on the kernel's files; any thread, no state. Paths are as CRI has them: /gantry/burstable/pod<uid>.
class Cgroups {
 public:
  /// `root`: where the machine has its hierarchies.
  explicit Cgroups(std::string root = "/sys/fs/cgroup");

  enum class Version : uint8_t { kNone, kV1, kV2 };
  Version version() const { return version_; }

  /// Makes it where it is not there and sets its limits; a limit that is not said is lifted. `processes`: 0 is no
  /// limit.
  Status apply(const std::string& path, const Resources& resources, int64_t processes = 0) const;
  /// Only its share of the processors.
  Status set_shares(const std::string& path, int64_t shares) const;
  /// With all below it, in every hierarchy; what still has processes stays.
  void remove(const std::string& path) const;
  /// Names of those directly below, in any hierarchy.
  std::vector<std::string> children(const std::string& path) const;

  /// Bytes that cannot be had back without pressure.
  std::optional<uint64_t> working_set(const std::string& path) const;
  struct Processes {
    int64_t now = 0, most = 0;
  };
  /// Nothing where their number is not limited.
  std::optional<Processes> processes(const std::string& path) const;

 private:
  std::string file(const char* controller, const std::string& path, const char* name) const;
  Status make(const std::string& path) const;
  std::vector<std::string> hierarchies() const;

  std::string root_;
  Version version_ = Version::kNone;
};

/// Of whichever QoS class; nothing with an empty parent.
void remove_pod_cgroup(const std::string& parent, const std::string& uid);
/// The uids of pods that have one below `parent`.
std::vector<std::string> pods_with_cgroups(const std::string& parent);

/// The pod's uid in the name of its cgroup; "" for others.
std::string uid_of_cgroup(const std::string& name);

}  // namespace gantry::nodeagent

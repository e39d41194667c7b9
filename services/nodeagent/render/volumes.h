// A pod's volumes: what each should hold. Pure functions; volume/ brings the disk to it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

struct VolumeFile {
  std::string path;  // relative, e.g. nested/key
  std::string data;
  uint32_t mode = 0644;
  std::optional<int64_t> owner = {};
  bool operator==(const VolumeFile&) const = default;
};

/// What a CSI driver is to mount.
struct CsiVolume {
  std::string driver, handle, fs_type;
  std::string access_mode = "ReadWriteOnce";  // a PersistentVolume's
  std::vector<std::string> mount_options;
  std::map<std::string, std::string> attributes, secrets;
  bool ephemeral = false;     // it lives and ends with the pod
  bool group_by_type = true;  // fsGroup only where fs_type is known and one node writes; else as group_always says
  bool group_always = false;
  /// Of the claim behind it, "" without; bytes that the volume has, and that the claim knows of.
  std::string claim;
  int64_t capacity = 0, known_capacity = 0;
};

struct VolumePlan {
  enum class Kind : uint8_t { kEmptyDir, kHostPath, kFiles, kLocal, kCsi, kImage };
  Kind kind = Kind::kEmptyDir;
  std::string name;
  std::string spec_name;  // as errors call it: the PersistentVolume's name, or the volume's
  std::string path;       // on the host: what containers mount, or the device
  bool read_only = false, block = false;
  // emptyDir
  bool in_memory = false;
  int64_t size_limit = 0;
  // hostPath
  std::string host_type;
  // files
  std::vector<VolumeFile> files;
  // fsGroup
  std::optional<int64_t> fs_group;
  bool group_on_mismatch = false;
  CsiVolume csi;
  std::string image, pull_policy;
};

/// kInvalid names the volume and what is missing or not supported.
Result<std::vector<VolumePlan>> plan_volumes(const core::Pod& pod, const NodeContext& node,
                                             const std::vector<std::string>& pod_ips, const FindReference& find);

}  // namespace gantry::nodeagent

// A pod's volumes: what each should hold (pure), and bringing the disk to it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

struct VolumeFile {
  std::string path;  // relative, e.g. nested/key
  std::string data;
  uint32_t mode = 0644;
  bool operator==(const VolumeFile&) const = default;
};

struct VolumePlan {
  enum class Kind : uint8_t { kEmptyDir, kHostPath, kFiles };
  Kind kind = Kind::kEmptyDir;
  std::string name;
  std::string path;  // on the host: what containers mount
  // emptyDir
  bool in_memory = false;
  int64_t size_limit = 0;
  // hostPath
  std::string host_type;
  // files
  std::vector<VolumeFile> files;
  std::optional<int64_t> fs_group;
};

/// kInvalid names the volume and what is missing or not supported.
Result<std::vector<VolumePlan>> plan_volumes(const core::Pod& pod, const NodeContext& node,
                                             const std::vector<std::string>& pod_ips, const FindReference& find);

/// Makes the directory, or the files: all new content at once, by swapping a link (`..data`), so that a reader never
/// sees half of it. A volume that already is as planned is not touched. Blocks on the disk.
Status write_volume(const VolumePlan& plan);

/// The managed /etc/hosts.
std::string render_hosts(const core::Pod& pod, const NodeContext& node, const std::vector<std::string>& pod_ips);

/// Writes by a temporary file and rename, making directories as needed.
Status write_file(const std::string& path, std::string_view data, uint32_t mode = 0644);

/// Unmounts what is mounted below <root>/pods/<uid> and removes it.
Status remove_pod_directory(const Paths& paths, const std::string& uid);

}  // namespace gantry::nodeagent

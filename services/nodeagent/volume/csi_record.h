// What the agent keeps on disk of a volume that a CSI driver mounts: enough to take it back without the API.
#pragma once

#include <string>
#include <vector>

#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

struct CsiRecord {
  std::string driver, handle;
  std::string target;   // where it is published for the pod; empty in the record of the staging
  std::string staging;  // where it is staged on the node; empty: not staged
  std::string key() const { return driver + "\n" + handle; }
};

// All of these block.
Status write_record(const std::string& file, const CsiRecord& record);
Result<CsiRecord> read_record(const std::string& file);
/// (file, record) of one pod; a file that cannot be read is an error: what it stands for may be mounted.
Result<std::vector<std::pair<std::string, CsiRecord>>> records_of(const Paths& paths, const std::string& pod_uid);
/// True if a pod on this node has it.
Result<bool> in_use(const Paths& paths, const CsiRecord& record);
/// <root>/csi/<hash of driver and handle>
std::string staging_directory(const Paths& paths, const std::string& driver, const std::string& handle);
/// The records of what is staged.
Result<std::vector<CsiRecord>> staged(const Paths& paths);

}  // namespace gantry::nodeagent

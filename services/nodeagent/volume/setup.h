// Brings the disk to what a pod's volumes should be, and takes it all away again. Blocks; any thread.
#pragma once

#include <string>

#include "services/nodeagent/render/volumes.h"

namespace gantry::nodeagent {

/// Makes the directory, mounts the memory, checks the host's path, or writes the files: all new content at once, by
/// swapping a link (`..data`), so that a reader never sees half of it. A volume that already is as planned is not
/// touched. What a CSI driver makes is not touched here. Errors are as kubectl shows them: `MountVolume.SetUp failed
/// for volume ...`.
Status write_volume(const VolumePlan& plan);

/// Writes by a temporary file and rename, making directories as needed.
Status write_file(const std::string& path, std::string_view data, uint32_t mode = 0644);

/// Volumes and their parts, of one pod; the rest of its directory stays. Nothing of drivers or images may be mounted
/// there any more. Blocks.
Status remove_pod_volumes(const Paths& paths, const std::string& uid);

/// Unmounts what is mounted below <root>/pods/<uid> and removes it.
Status remove_pod_directory(const Paths& paths, const std::string& uid);

}  // namespace gantry::nodeagent

// Mounting a part of a volume (subPath), and mounts that are read-only all the way down. What is mounted is bound at a
// place of ours from an open file, so that nobody who writes into the volume can make the runtime follow a link out of
// it. Blocks; any thread.
#pragma once

#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Binds mount.host_path/mount.sub_path at mount.staged_path, anew if something is mounted there, and makes
/// mount.host_path that place. Directories that the path lacks are made with the volume's mode. kInvalid for a path
/// that leaves the volume, by ".." or by a link.
Status stage_mount(Mount& mount);

/// As stage_mount(), for each mount that asks for it; errors name the container as kubectl shows them.
Status stage_mounts(ContainerConfig& config);

}  // namespace gantry::nodeagent

// What the kernel has mounted. The mount table is the truth: nothing that the agent remembers is asked before a
// directory is removed. All of these block; any thread.
#pragma once

#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::nodeagent {

/// Mount points at or below `directory`, in the order in which they must be unmounted (last mounted first). One entry
/// for each mount, also where several lie on one another. kInternal when the table cannot be read.
Result<std::vector<std::string>> mounts_below(const std::string& directory);

/// Something is mounted exactly there.
bool is_mount_point(const std::string& path);

/// Unmounts all at or below `directory`. kInternal names what is still mounted.
Status unmount_below(const std::string& directory);

/// Unmounts everything below `directory` and removes it; never descends into what is still mounted. Succeeds when it
/// is not there.
Status remove_tree(const std::string& directory);

}  // namespace gantry::nodeagent

// Block devices out of files.
#pragma once

#include <string>

#include "libs/base/result.h"

namespace gantry::csi_hostpath {

/// The loop device whose content is `file`, attached if there is none. kUnavailable where there are no loop devices.
Result<std::string> attach_loop(const std::string& file);
/// Lets go of it, if one is attached.
void detach_loop(const std::string& file);
/// The device takes on the file's new size.
void refresh_loop(const std::string& file);

}  // namespace gantry::csi_hostpath

// Small files, whole. Errors name the file and the system's reason. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace gantry::dev {

Result<std::string> read_file(const std::filesystem::path& path);
/// Replaces the file atomically and makes its folder. Leaves the file alone when it already has this content.
Status write_file(const std::filesystem::path& path, std::string_view content, int mode = 0644);
/// An Error of kInternal with the text of errno.
Error system_error(std::string what);

}  // namespace gantry::dev

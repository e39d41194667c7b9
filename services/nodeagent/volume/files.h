// The files of ConfigMaps, Secrets, the downward API and projected volumes: all new content at once.
#pragma once

#include "services/nodeagent/render/volumes.h"

namespace gantry::nodeagent {

/// <path>/..<random>/<files>, <path>/..data -> ..<random>, <path>/<first component> -> ..data/<first component>.
/// Nothing is written if all is as it should be. Blocks; any thread.
Status write_files(const VolumePlan& plan);

/// `file.path` is not read: the file is `path`. With a group it is the group's too, to read.
Status write_plain(const std::string& path, const VolumeFile& file, const std::optional<int64_t>& group);

Status make_directory(const std::string& path, uint32_t mode);
/// kInternal: what, path and errno's text.
Error disk_error(const char* what, const std::string& path, int error);

}  // namespace gantry::nodeagent

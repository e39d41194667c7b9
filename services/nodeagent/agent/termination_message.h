// The last words of a container, as its status shows them.
#pragma once

#include <string>

#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Its message file (the first 4096 bytes), or, where its policy is FallbackToLogsOnError, it failed and left no
/// message, the end of its log: 80 lines, 2048 bytes at most. "" when there is neither. Reads the disk.
std::string termination_message(const Container& container);

}  // namespace gantry::nodeagent

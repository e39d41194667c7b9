// fsGroup: a volume's files belong to the pod's group. Blocks; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "libs/base/result.h"

namespace gantry::nodeagent {

struct Ownership {
  int64_t group = 0;
  bool read_only = false;         // of the group: it may read, else also write
  bool on_root_mismatch = false;  // nothing is changed if the top directory is right already
};

/// Gives `directory` and all below it to the group: files readable (and writable) by it, directories searchable, and
/// new files in them of the same group. Links themselves are given away, not what they point at.
Status set_ownership(const std::string& directory, const Ownership& ownership);

}  // namespace gantry::nodeagent

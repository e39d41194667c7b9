// Names of images: [registry[:port]/]path[:tag][@algorithm:digest]. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace gantry::nodeagent {

struct ImageReference {
  std::string registry, path, tag, digest;  // docker.io, library/busybox, latest, sha256:...
  /// With the defaults filled in: docker.io/library/busybox:latest.
  std::string full() const;
};

/// kInvalid with the words that every Kubernetes user knows: invalid reference format.
Result<ImageReference> parse_image(std::string_view text);

}  // namespace gantry::nodeagent

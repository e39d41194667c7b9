// Which images may go when the disk that they lie on fills up. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct ImageGcOptions {
  int high_percent = 85, low_percent = 80;  // of the disk: above the first, images go until the second
  Duration minimum_age = std::chrono::minutes(2);
  Duration period = std::chrono::minutes(5);
};

/// Since when an image is known and when it was last in use, by its id.
class ImageAges {
 public:
  /// `used`: what containers name, ids or references.
  void see(const std::vector<Image>& images, const std::set<std::string>& used, WallMicros now);
  /// Ids of images that are unused (never one that is pinned), longest unused first, until `bytes` would be free.
  std::vector<std::string> unused(const std::vector<Image>& images, uint64_t bytes, Duration minimum_age,
                                  WallMicros now) const;

 private:
  struct Age {
    WallMicros first_seen = 0, last_used = 0;
    bool in_use = false;
  };
  std::map<std::string, Age> ages_;
};

/// Bytes to free: 0 below the high mark.
uint64_t bytes_to_free(uint64_t capacity, uint64_t available, const ImageGcOptions& options);

}  // namespace gantry::nodeagent

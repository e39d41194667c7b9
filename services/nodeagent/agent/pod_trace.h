// When each step between a pod's binding and its readiness began and ended.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/base/loop.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::nodeagent {

/// Records up to the first readiness (or the end) and is then done. Loop's thread only.
class PodTrace {
 public:
  explicit PodTrace(Loop& loop) : loop_(loop), seen_(loop.wall()) {}

  void begin(const char* phase, std::string container = "");
  /// The last of that name that has not ended.
  void end(const char* phase, std::string_view container = "");
  void ready();
  bool done() const { return ready_ != 0; }
  /// A node.PodTrace.
  std::string encode(std::string_view node, const api::core_v1::Pod& pod) const;

 private:
  static constexpr size_t kMost = 256;  // a pod that fails again and again does not grow
  struct Phase {
    std::string name, container;
    WallMicros start = 0, end = 0;
  };
  Loop& loop_;
  WallMicros seen_, ready_ = 0;
  std::vector<Phase> phases_;
};

}  // namespace gantry::nodeagent

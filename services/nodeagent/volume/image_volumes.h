// Volumes that are the files of an image (volumes[].image), read-only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/nodeagent/render/context.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// What is held in the runtime is on disk before (Paths::images), so that an agent that was killed gives it back.
/// Loop's thread only; what is passed by reference outlives it.
class ImageVolumes {
 public:
  /// Runs `work` where it may block, then `done` on the loop.
  using Run = std::function<void(std::function<void()> work, std::function<void()> done)>;
  ImageVolumes(Runtime& runtime, Paths paths, Run run)
      : runtime_(runtime), paths_(std::move(paths)), run_(std::move(run)) {}

  /// The image (by id) at the volume's place; nothing happens when it is mounted there already.
  void mount(const std::string& pod_uid, const std::string& volume, const std::string& image,
             std::function<void(Status)> done);
  /// All of a pod's. Succeeds when there are none.
  void unmount(const std::string& pod_uid, std::function<void(Status)> done);

 private:
  void release_next(std::shared_ptr<std::vector<std::string>> keys, std::function<void(Status)> done);
  template <typename F>
  auto guard(F f) {
    return [weak = std::weak_ptr<bool>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Runtime& runtime_;
  Paths paths_;
  Run run_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// mount(2) for each in their order, read-only, at `path`, which is made; nothing there executes on the host. kInternal
/// says why not; nothing stays mounted then. Blocks.
Status mount_read_only(const std::string& path, const std::vector<FsMount>& mounts);

}  // namespace gantry::nodeagent

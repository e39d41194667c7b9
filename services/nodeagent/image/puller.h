// Gets a container's image onto the node: by its pull policy, with the pod's credentials, no more than so many at once.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "services/nodeagent/image/credentials.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Loop's thread only; `loop` and `runtime` outlive it. What is asked of it may outlive it: `done` is dropped then.
class ImagePuller {
 public:
  /// `parallel`: pulls under way at once; 0 is no limit.
  ImagePuller(Loop& loop, Runtime& runtime, size_t parallel) : loop_(loop), runtime_(runtime), parallel_(parallel) {}

  struct Request {
    std::string image, policy;  // Always, IfNotPresent, Never
    SandboxConfig sandbox;
    Credentials credentials;
    /// An Event about the container.
    std::function<void(bool warning, const std::string& reason, const std::string& message)> record;
  };
  struct Outcome {
    Image image;
    /// Empty, or why not: ErrImagePull, ErrImageNeverPull, InvalidImageName, ImageInspectError.
    std::string reason;
    Error error;
    bool ok() const { return reason.empty(); }
  };
  using Done = std::function<void(Outcome)>;
  void ensure(Request request, Done done);

  size_t pulling() const { return pulling_; }
  size_t waiting() const { return queue_.size(); }

 private:
  struct Pull;
  void enqueue(std::shared_ptr<Pull> pull);
  void next();
  void attempt(const std::shared_ptr<Pull>& pull);
  void on_pulled(const std::shared_ptr<Pull>& pull, Result<std::string> id);
  void finish(const std::shared_ptr<Pull>& pull, Outcome outcome);
  template <typename F>
  auto guard(F f) {
    return [weak = std::weak_ptr<bool>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Loop& loop_;
  Runtime& runtime_;
  size_t parallel_, pulling_ = 0;
  std::deque<std::shared_ptr<Pull>> queue_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

// Callbacks that do nothing once their owner is gone: the store may answer after a gateway was torn down.
#pragma once

#include <memory>
#include <utility>

namespace gantry::apigw {

/// A member of the owner, last so that it dies first: `store.get(key, alive_.guard([this](auto r) { ... }))`. Loop's
/// thread only.
class Alive {
 public:
  template <typename F>
  auto guard(F f) const {
    return [weak = std::weak_ptr<char>(token_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

 private:
  std::shared_ptr<char> token_ = std::make_shared<char>();
};

}  // namespace gantry::apigw

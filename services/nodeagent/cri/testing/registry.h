// A docker-registry of its own for a test, on loopback, with or without a password.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "libs/base/result.h"

namespace gantry::testing {

class Registry {
 public:
  static constexpr char kUser[] = "puller", kPassword[] = "secret";
  /// Starts it and waits until it listens; kUnavailable when it does not.
  static Result<std::unique_ptr<Registry>> start(bool password);
  ~Registry();
  /// 127.0.0.1:<port>
  const std::string& address() const { return address_; }

 private:
  Registry() = default;
  std::string directory_, address_;
  pid_t pid_ = -1;
};

}  // namespace gantry::testing

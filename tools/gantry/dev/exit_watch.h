// Tells when a process ends, child or not. Loop's thread only.
#pragma once

#include <uv.h>

#include <functional>

#include "libs/base/uv_loop.h"
#include "tools/gantry/dev/process.h"

namespace gantry::dev {

class ExitWatch {
 public:
  /// `ended` is called once, from the loop; also when the process is gone already. Not after destruction,
  /// which may happen inside it.
  ExitWatch(UvLoop& loop, const ProcessId& process, std::function<void()> ended);
  ~ExitWatch();
  ExitWatch(const ExitWatch&) = delete;
  ExitWatch& operator=(const ExitWatch&) = delete;

 private:
  struct Watched;
  Watched* watched_;
};

}  // namespace gantry::dev

// A gantry-apigw process of a test's own: started, killed with SIGKILL and started again. Blocking, not thread-safe.
#pragma once

#include <sys/types.h>

#include <string>

#include "libs/bus/nats_bus.h"

namespace gantry::testing {

class Gateway {
 public:
  /// Starts it. `redis` is an address as for --redis; the binary lies beside that of the test.
  Gateway(const bus::NatsOptions& nats, std::string redis);
  ~Gateway() { kill(); }
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  void start();
  void kill();  // and waits for its end

 private:
  bus::NatsOptions nats_;
  std::string redis_;
  pid_t pid_ = -1;
};

}  // namespace gantry::testing

// The skeleton of a service: flags and environment, logging, the loop, the bus, health and metrics, and a clean end.
//
//   int main(int argc, char** argv) {
//     gantry::service::Service service("scheduler", "Places pods on nodes");
//     std::string profile = "default";
//     service.flags().add_option("--profile", profile, "Which scores count");
//     return service.run(argc, argv, [&](Service& s) -> Status {
//       auto scheduler = s.keep(std::make_shared<Scheduler>(s.loop(), s.bus(), s.commands(), profile));
//       s.add_ready("synced", [scheduler = scheduler.get()] { return scheduler->synced(); });
//       s.on_drain("scheduler", [scheduler = scheduler.get()](auto done) { scheduler->drain(done); });
//       return Done{};
//     });
//   }
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "libs/bus/bus.h"
#include "libs/bus/command.h"
#include "libs/service/flags.h"
#include "libs/service/health.h"
#include "libs/service/metrics.h"

namespace gantry::http {
class Server;
}

namespace gantry::service {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // could not start, or fail()
inline constexpr int kExitUsage = 2;   // flags
inline constexpr int kExitDrainTimeout =
    3;  // ended with work in flight: the drain took too long, or a second signal came

/// One in a process. Everything on the thread that calls run(), which is the loop's.
class Service {
 public:
  using Start = std::function<Status(Service&)>;
  using DrainStep = std::function<void(std::function<void()> done)>;

  Service(std::string name, std::string description);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// For flags of its own; include CLI/CLI.hpp. Before run().
  CLI::App& flags() { return *flags_; }
  CommonOptions& options() { return options_; }

  /// Parses, starts, runs until a signal, stop() or fail(), drains, and returns the exit code.
  int run(int argc, const char* const* argv, Start start);

  UvLoop& loop() { return loop_; }
  /// Connects in the background: readiness check "nats".
  bus::Bus& bus() { return *bus_; }
  bus::Commands& commands() { return *commands_; }
  Metrics& metrics() { return metrics_; }
  Health& health() { return health_; }
  /// As given by --identity, or the service's name.
  const std::string& identity() const { return options_.identity; }
  /// Unique to this run of the process: `<identity>-<random>`, for leases.
  const std::string& instance() const { return instance_; }
  /// Of the health server, once started; 0 without one.
  uint16_t health_port() const;

  /// Owned until the end; destroyed in reverse order, before the bus.
  template <typename T>
  std::shared_ptr<T> keep(std::shared_ptr<T> part) {
    parts_.push_back(part);
    return part;
  }
  void add_ready(std::string name, Health::Check check) {
    parts_.push_back(health_.add_ready(std::move(name), std::move(check)));
  }
  /// Steps run one after another, in the order added, each when the one before has called `done`: first stop taking
  /// work, then finish it, then resign leases. The bus is flushed after the last.
  void on_drain(std::string name, DrainStep step) { drain_steps_.push_back({std::move(name), std::move(step)}); }

  /// The drain may take this long at least, whatever the flag says.
  void allow_drain(int seconds) { options_.drain_seconds = std::max(options_.drain_seconds, seconds); }

  /// Begins to drain, as SIGTERM does. Any call after the first has no effect.
  void stop(int exit_code = kExitOk);
  /// Something without which the service cannot go on: logs, drains, exits with kExitFailed.
  void fail(const Error& error);

  /// For tests, before run(): instead of NATS.
  void use_bus(std::unique_ptr<bus::Bus> bus) { bus_ = std::move(bus); }

 private:
  struct Step {
    std::string name;
    DrainStep run;
  };
  class Signals;

  Status start_health();
  void start_bus();
  void watch_lag();
  void on_signal(int signal);
  void drain_next(size_t step);
  void finish(int exit_code);

  const std::string name_;
  std::string instance_;
  std::unique_ptr<CLI::App> flags_;
  CommonOptions options_;
  UvLoop loop_;
  Metrics metrics_;
  Health health_{metrics_};
  std::unique_ptr<http::Server> health_server_;
  std::unique_ptr<bus::Bus> bus_;
  std::unique_ptr<bus::Commands> commands_;
  std::vector<std::shared_ptr<void>> parts_;
  std::vector<Step> drain_steps_;
  std::unique_ptr<Signals> signals_;
  Timer drain_deadline_, lag_timer_;
  Duration lag_expected_{};
  bool running_ = false, draining_ = false, finished_ = false;
  int exit_code_ = kExitOk;
};

}  // namespace gantry::service

#include "libs/service/service.h"

#include <signal.h>
#include <uv.h>

#include <CLI/CLI.hpp>
#include <array>

#include "libs/base/ids.h"
#include "libs/http/server.h"
#include "libs/service/log.h"
#include "libs/service/nats.h"
#include "libs/service/version.h"

namespace gantry::service {

/// SIGTERM and SIGINT, as events of the loop.
class Service::Signals {
 public:
  Signals(UvLoop& loop, std::function<void(int)> received) : received_(std::move(received)) {
    for (size_t i = 0; i < handles_.size(); ++i) {
      handles_[i] = new uv_signal_t;
      uv_signal_init(loop.raw(), handles_[i]);
      handles_[i]->data = this;
      uv_signal_start(
          handles_[i], [](uv_signal_t* handle, int signal) { static_cast<Signals*>(handle->data)->received_(signal); },
          i == 0 ? SIGTERM : SIGINT);
    }
  }
  ~Signals() {
    for (auto* handle : handles_) {
      uv_close(reinterpret_cast<uv_handle_t*>(handle),
               [](uv_handle_t* closed) { delete reinterpret_cast<uv_signal_t*>(closed); });
    }
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  std::array<uv_signal_t*, 2> handles_{};
  std::function<void(int)> received_;
};

Service::Service(std::string name, std::string description)
    : name_(std::move(name)), flags_(std::make_unique<CLI::App>(std::move(description), "gantry-" + name_)) {
  options_.identity = name_;
  add_common_flags(*flags_, options_);
  flags_->set_version_flag("--version", std::string(kVersion));
}

Service::~Service() = default;

uint16_t Service::health_port() const { return health_server_ == nullptr ? 0 : health_server_->port(); }

int Service::run(int argc, const char* const* argv, Start start) {
  bind_environment(*flags_);
  try {
    flags_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return flags_->exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (!google::IsGoogleLoggingInitialized()) init_logging(argv[0]);
  FLAGS_v = options_.verbosity;
  instance_ = options_.identity + '-' + random_suffix(10);
  LOG(INFO) << "starting" << kv("service", name_) << kv("version", kVersion) << kv("identity", options_.identity)
            << kv("pid", getpid());

  add_process_metrics(metrics_);
  metrics_.gauge("gantry_build_info", "1, with what runs as labels.", {{"service", name_}, {"version", kVersion}})
      .set(1);
  signals_ = std::make_unique<Signals>(loop_, [this](int signal) { on_signal(signal); });
  watch_lag();
  running_ = true;
  auto started = start_health();
  if (started) {
    start_bus();
    started = start(*this);
  }
  if (!started) fail(started.error());
  if (!finished_) loop_.run();

  // In reverse order of use; the loop turns once more in its destructor, for what closes.
  drain_deadline_.reset();
  lag_timer_.reset();
  while (!parts_.empty()) parts_.pop_back();
  drain_steps_.clear();
  commands_.reset();
  bus_.reset();
  health_server_.reset();
  signals_.reset();
  LOG(INFO) << "ended" << kv("service", name_) << kv("exit_code", exit_code_);
  return exit_code_;
}

Status Service::start_health() {
  if (options_.health_listen.empty()) return Done{};
  health_server_ =
      std::make_unique<http::Server>(loop_, http::ServerOptions{.listen = options_.health_listen},
                                     [this](http::Request request, std::shared_ptr<http::Responder> responder) {
                                       health_.handle(request, *responder);
                                     });
  return health_server_->start();
}

void Service::start_bus() {
  if (bus_ == nullptr && !options_.nats_url.empty()) {
    bus_ = connect_nats(loop_, options_);
  }
  if (bus_ == nullptr) return;
  commands_ = bus::make_command_client(loop_, *bus_, options_.identity);
  add_ready("nats", [this]() -> Status {
    if (bus_->connected()) return Done{};
    return Error{.code = Code::kUnavailable, .message = "not connected to " + options_.nats_url};
  });
}

void Service::watch_lag() {
  constexpr auto kPeriod = std::chrono::seconds(1);
  auto& lag = metrics_.gauge("gantry_loop_lag_seconds",
                             "How late the loop ran its last timer: what a callback may have to wait.");
  lag_expected_ = loop_.now() + kPeriod;
  lag_timer_ = loop_.every(kPeriod, [this, &lag, kPeriod] {
    auto now = loop_.now();
    lag.set(static_cast<double>(std::max<int64_t>(0, (now - lag_expected_).count())) / 1e6);
    lag_expected_ = now + kPeriod;
  });
}

void Service::on_signal(int signal) {
  if (draining_) {
    LOG(WARNING) << "second signal: ending at once" << kv("signal", signal);
    return finish(kExitDrainTimeout);
  }
  LOG(INFO) << "draining" << kv("signal", signal);
  stop();
}

void Service::fail(const Error& error) {
  LOG(ERROR) << "cannot go on" << kv("error", error.message);
  if (draining_) {
    exit_code_ = kExitFailed;
    return;
  }
  stop(kExitFailed);
}

void Service::stop(int exit_code) {
  if (draining_) return;
  draining_ = true;
  exit_code_ = exit_code;
  health_.set_draining();
  drain_deadline_ = loop_.after(std::chrono::seconds(options_.drain_seconds), [this] {
    LOG(WARNING) << "drain took too long" << kv("seconds", options_.drain_seconds);
    finish(kExitDrainTimeout);
  });
  loop_.post([this] { drain_next(0); });
}

void Service::drain_next(size_t step) {
  if (finished_) return;
  if (step < drain_steps_.size()) {
    VLOG(1) << "drain step" << kv("step", drain_steps_[step].name);
    // `done` may come inside the call, twice, or after the deadline.
    auto called = std::make_shared<bool>(false);
    drain_steps_[step].run([this, step, called] {
      if (std::exchange(*called, true) || finished_) return;
      loop_.post([this, step] { drain_next(step + 1); });
    });
    return;
  }
  if (bus_ == nullptr || !bus_->connected()) return finish(exit_code_);
  bus_->flush([this](Status) { finish(exit_code_); });
}

void Service::finish(int exit_code) {
  if (std::exchange(finished_, true)) return;
  exit_code_ = exit_code;
  loop_.stop();
}

}  // namespace gantry::service

// Whether the process is alive, and whether it is ready for work: /healthz, /readyz, /metrics.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libs/base/result.h"
#include "libs/http/responder.h"
#include "libs/service/metrics.h"

namespace gantry::service {

/// Loop's thread only.
class Health {
 public:
  using Check = std::function<Status()>;

  explicit Health(Metrics& metrics) : metrics_(metrics) {}

  /// Asked at every probe: cheap, no I/O. Removed with the handle.
  [[nodiscard]] std::shared_ptr<void> add_ready(std::string name, Check check) {
    return add(ready_, std::move(name), std::move(check));
  }
  /// A failing one makes the supervisor restart the process: only for what a restart cures.
  [[nodiscard]] std::shared_ptr<void> add_live(std::string name, Check check) {
    return add(live_, std::move(name), std::move(check));
  }

  /// Not ready from now on, whatever the checks say.
  void set_draining() { draining_ = true; }
  /// The failing checks, `name: reason`; empty when ready.
  std::vector<std::string> not_ready() const;

  /// 200 `ok`, or 503 with one line a check; `?verbose` lists them all. /readyz/<name> asks one. 404 for other paths.
  void handle(const http::Request& request, http::Responder& responder) const;

 private:
  using Checks = std::vector<std::pair<std::string, std::weak_ptr<Check>>>;
  static std::shared_ptr<void> add(Checks& checks, std::string name, Check check);
  void probe(const http::Request& request, std::string_view kind, std::string_view only, const Checks& checks,
             http::Responder& responder) const;

  Metrics& metrics_;
  mutable Checks ready_, live_;
  bool draining_ = false;
};

}  // namespace gantry::service

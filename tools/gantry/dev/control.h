// How `gantry dev ...` talks with the supervisor: one line of JSON each way over a unix socket.
//   {"do": "status"}                      -> {"components": [...]}
//   {"do": "stop"|"start"|"restart", "component": NAME} -> {}
//   {"do": "refresh"}                     -> {"restarted": [names]}
//   {"do": "down"}                        -> {} once everything has stopped
// A failure answers {"error": text}.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "tools/gantry/dev/paths.h"

namespace gantry::dev {

using ControlAnswer = std::function<void(const nlohmann::json&)>;
using ControlHandler = std::function<void(const nlohmann::json& request, ControlAnswer answer)>;

/// Listens until destroyed. Loop's thread only.
class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> listen(UvLoop& loop, const Paths& paths, ControlHandler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Connection;
  ControlServer() = default;
  uv_pipe_t* pipe_ = nullptr;
  std::shared_ptr<ControlHandler> handler_;
};

/// Asks and waits. kUnavailable when no supervisor runs.
Result<nlohmann::json> control(const Paths& paths, const nlohmann::json& request, int timeout_seconds = 10);

}  // namespace gantry::dev

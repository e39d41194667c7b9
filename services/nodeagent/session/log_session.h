// `kubectl logs`: a container's log file to a session, as slowly as it is read; with follow until the container ends.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/bus/session.h"
#include "services/nodeagent/agent/executor.h"
#include "services/nodeagent/session/log_files.h"
#include "services/nodeagent/session/log_format.h"

namespace gantry::nodeagent {

/// What was rotated away and is still kept comes first; following goes on through a rotation. Loop's thread only.
/// Destroying it ends everything. inotify tells of new data; the file is never polled for it.
class LogSession {
 public:
  struct Options {
    std::string path;
    bool follow = false;
    std::optional<int64_t> tail_lines;
    LogFilter filter;
    /// Asked at the end of the file while following: false when the container has ended. The runtime may still write
    /// what it had buffered.
    std::function<bool()> running;
  };
  LogSession(UvLoop& loop, Executor& executor, Options options, std::function<void()> finished);
  ~LogSession();

  bus::Session::Callbacks callbacks();
  /// Takes the session that `callbacks` was given to, and begins.
  void start(std::unique_ptr<bus::Session> session);

 private:
  void begin_at();
  void read_next();
  void on_read(const std::string& data, bool settled);
  void at_end(bool settled);
  void watch();
  void unwatch();
  void finish(const std::string& error);

  UvLoop& loop_;
  Executor& executor_;
  Options options_;
  std::function<void()> finished_;
  std::unique_ptr<bus::Session> session_;
  LogPrinter printer_;
  std::shared_ptr<LogFiles> files_;
  uv_fs_event_t* watcher_ = nullptr;
  bool reading_ = false, blocked_ = false, changed_ = false, last_look_ = false, done_ = false;
  std::optional<Duration> ended_at_;  // when the container was first seen to have ended
  Timer look_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

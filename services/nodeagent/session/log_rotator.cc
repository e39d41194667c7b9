#include "services/nodeagent/session/log_rotator.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "services/nodeagent/session/log_files.h"

namespace gantry::nodeagent {

LogRotator::LogRotator(Loop& loop, Executor& executor, Runtime& runtime, LogLimits limits,
                       std::function<std::vector<Log>()> logs)
    : loop_(loop), executor_(executor), runtime_(runtime), limits_(limits), logs_(std::move(logs)) {
  timer_ = loop_.every(limits_.period, [this] { look(); });
}

void LogRotator::look() {
  if (std::exchange(busy_, true)) return;
  struct Renamed {
    Log log;
    std::string to;  // empty: there is no log at all
  };
  auto renamed = std::make_shared<std::vector<Renamed>>();
  auto work = [renamed, logs = logs_(), limits = limits_, wall = loop_.wall()] {
    for (const auto& log : logs) {
      struct stat info {};
      if (stat(log.path.c_str(), &info) != 0) {
        // The agent went between renaming and reopening: the container still writes to the old name.
        if (errno == ENOENT && !rotated_logs(log.path).empty()) renamed->push_back({log, ""});
        continue;
      }
      if (static_cast<uint64_t>(info.st_size) < limits.max_bytes) continue;
      auto old = rotated_logs(log.path);
      for (size_t i = 0; i < old.size() && old.size() - i > static_cast<size_t>(std::max(0, limits.max_files - 2)); ++i)
        unlink(old[i].c_str());
      auto to = rotated_name(log.path, wall);
      if (rename(log.path.c_str(), to.c_str()) == 0) {
        renamed->push_back({log, to});
      } else {
        LOG(WARNING) << "log=" << log.path << " cannot be rotated: " << strerror(errno);
      }
    }
  };
  executor_.run(std::move(work), [this, renamed, weak = std::weak_ptr<bool>(alive_)] {
    if (weak.expired()) return;
    busy_ = false;
    for (const auto& r : *renamed) reopen(r.log, r.to);
  });
}

void LogRotator::reopen(const Log& log, const std::string& rotated) {
  runtime_.reopen_log(log.container_id, [log, rotated](Result<Done> reopened) {
    if (reopened.ok()) return;
    LOG(WARNING) << "container=" << log.container_id << " log is not reopened: " << reopened.error().message;
    // The container writes on where it did: under the name that everybody knows, unless a new file is there.
    if (!rotated.empty() && access(log.path.c_str(), F_OK) != 0) (void)rename(rotated.c_str(), log.path.c_str());
  });
}

}  // namespace gantry::nodeagent

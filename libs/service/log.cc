#include "libs/service/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <ctime>

namespace gantry::service {
namespace {

/// "../libs/state/redis_store.cc" -> "state"; "services/controllers/deployment/plan.cc" -> "controllers/deployment".
std::string_view component(std::string_view path) {
  size_t begin = 0;
  for (std::string_view root : {"libs/", "services/", "tools/"}) {
    auto found = path.rfind(root);
    if (found != std::string_view::npos && (found == 0 || path[found - 1] == '/'))
      begin = std::max(begin, found + root.size());
  }
  auto end = path.rfind('/');
  if (begin == 0 || end == std::string_view::npos || end <= begin) {  // elsewhere: the file's name
    auto name = path.substr(end == std::string_view::npos ? 0 : end + 1);
    return name.substr(0, name.rfind('.'));
  }
  return path.substr(begin, end - begin);
}

class StderrSink final : public google::LogSink {
 public:
  void send(google::LogSeverity severity, const char* path, const char*, int, const google::LogMessageTime&,
            const char* message, size_t length) override {
    auto now =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
    auto line = format_log_line(google::GetLogSeverityName(severity)[0], now, path, {message, length}) + '\n';
    for (std::string_view rest = line; !rest.empty();) {
      auto written = write(STDERR_FILENO, rest.data(), rest.size());
      if (written <= 0) break;  // nobody to tell
      rest.remove_prefix(static_cast<size_t>(written));
    }
  }
};

}  // namespace

std::string format_log_line(char severity, int64_t micros, std::string_view path, std::string_view message) {
  std::time_t seconds = micros / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  auto out = fmt::format("{}{:02}{:02} {:02}:{:02}:{:02}.{:06} {}] ", severity, utc.tm_mon + 1, utc.tm_mday,
                         utc.tm_hour, utc.tm_min, utc.tm_sec, micros % 1'000'000, component(path));
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  for (char c : message) {
    if (c == '\n') {
      out += "\\n";  // one message, one line
    } else {
      out += c;
    }
  }
  return out;
}

void init_logging(const char* argv0) {
  static StderrSink sink;  // glog may log until the very end
  google::InitGoogleLogging(argv0);
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) google::SetLogDestination(severity, "");
  FLAGS_stderrthreshold = google::GLOG_FATAL;
  google::AddLogSink(&sink);
}

std::ostream& operator<<(std::ostream& out, const KeyValue& pair) {
  out << ' ' << pair.key << '=';
  bool plain = !pair.value.empty();
  for (char c : pair.value) plain = plain && c > ' ' && c != '"' && c != '=' && c != 127;
  if (plain) return out << pair.value;
  out << '"';
  for (char c : pair.value) {
    if (c == '"' || c == '\\') {
      out << '\\' << c;
    } else if (c == '\n') {
      out << "\\n";
    } else {
      out << c;
    }
  }
  return out << '"';
}

}  // namespace gantry::service

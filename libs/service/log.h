// One line for each log message, on stderr, the same in every process:
//   I1123 08:00:00.000000 scheduler] bound pod=default/web-1 node=n2
// severity and UTC time, the folder that speaks, the message, then what it is about as key=value.
#pragma once

#include <glog/logging.h>

#include <ostream>
#include <string>
#include <string_view>

namespace gantry::service {

/// Once, first thing in main(). From then on glog writes no files, and every LOG() takes the form above. Thread-safe
/// after that.
void init_logging(const char* argv0);

/// ` key=value`, quoted when the value needs it: LOG(INFO) << "bound" << kv("pod", key) << kv("node", node);
struct KeyValue {
  std::string_view key;
  std::string value;
};
std::ostream& operator<<(std::ostream& out, const KeyValue& pair);
inline KeyValue kv(std::string_view key, std::string value) { return {key, std::move(value)}; }
inline KeyValue kv(std::string_view key, std::string_view value) { return {key, std::string(value)}; }
inline KeyValue kv(std::string_view key, const char* value) { return {key, value}; }
template <typename T>
requires std::is_arithmetic_v<T> KeyValue kv(std::string_view key, T value) { return {key, std::to_string(value)}; }

/// The line without its end, for tests. `path` is the source file, micros the time since 1970.
std::string format_log_line(char severity, int64_t micros, std::string_view path, std::string_view message);

}  // namespace gantry::service

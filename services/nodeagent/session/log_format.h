// The log files that a CRI runtime writes: `<RFC 3339 with nanoseconds> stdout|stderr F|P <text>`. Pure, fed with any
// cut of the bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::nodeagent {

struct LogLine {
  std::string_view time;  // as written
  bool is_stderr = false;
  bool partial = false;   // the rest of the line is in the next record
  std::string_view text;  // without the newline
};

/// One line of the file, without its newline; nullopt for what a runtime never writes.
std::optional<LogLine> parse_log_line(std::string_view line);

struct LogFilter {
  bool timestamps = false;
  std::optional<int64_t> since_micros;  // unix
  std::optional<int64_t> limit_bytes;
};

/// Turns the file's bytes into what `kubectl logs` prints. Not thread-safe.
class LogPrinter {
 public:
  explicit LogPrinter(LogFilter filter) : filter_(filter) {}
  /// Takes the next bytes of the file and appends what they print. A line that is cut waits for its rest.
  void feed(std::string_view bytes, std::string& out);
  /// The limit of bytes was reached: nothing more comes.
  bool full() const { return full_; }

 private:
  void print(std::string_view line, std::string& out);
  LogFilter filter_;
  std::string rest_;
  int64_t printed_ = 0;
  bool full_ = false, in_line_ = false, recent_ = false;
};

/// Where the last `lines` whole lines of a file of `size` bytes begin. `read(offset, length)` returns that part of the
/// file.
uint64_t find_tail(uint64_t size, int64_t lines,
                   const std::function<std::string(uint64_t offset, size_t length)>& read);

}  // namespace gantry::nodeagent

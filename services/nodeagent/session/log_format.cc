#include "services/nodeagent/session/log_format.h"

#include "libs/model/json.h"

namespace gantry::nodeagent {

namespace {
constexpr size_t kBlock = 64 * 1024;
constexpr size_t kLongestLine = 1024 * 1024;  // of the file: the runtime cuts at 16 KiB
}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  LogLine out;
  auto first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  out.time = line.substr(0, first);
  line.remove_prefix(first + 1);
  auto second = line.find(' ');
  if (second == std::string_view::npos) return std::nullopt;
  auto stream = line.substr(0, second);
  if (stream != "stdout" && stream != "stderr") return std::nullopt;
  out.is_stderr = stream == "stderr";
  line.remove_prefix(second + 1);
  if (line.empty() || (line[0] != 'F' && line[0] != 'P')) return std::nullopt;
  out.partial = line[0] == 'P';
  auto third = line.find(' ');
  out.text = third == std::string_view::npos ? std::string_view() : line.substr(third + 1);
  return out;
}

void LogPrinter::feed(std::string_view bytes, std::string& out) {
  while (!bytes.empty() && !full_) {
    auto end = bytes.find('\n');
    if (end == std::string_view::npos) {
      rest_ += bytes;
      if (rest_.size() > kLongestLine) rest_.clear();  // not a log of ours
      return;
    }
    if (rest_.empty()) {
      print(bytes.substr(0, end), out);
    } else {
      rest_ += bytes.substr(0, end);
      print(rest_, out);
      rest_.clear();
    }
    bytes.remove_prefix(end + 1);
  }
}

void LogPrinter::print(std::string_view line, std::string& out) {
  auto parsed = parse_log_line(line);
  if (!parsed) return;
  if (filter_.since_micros && !recent_) {
    auto time = model::parse_time(parsed->time);
    if (time.ok() && *time < *filter_.since_micros) return;
    recent_ = true;  // times only grow
  }
  const auto before = out.size();
  if (filter_.timestamps && !in_line_) {
    out += parsed->time;
    out += ' ';
  }
  out += parsed->text;
  in_line_ = parsed->partial;
  if (!parsed->partial) out += '\n';
  printed_ += static_cast<int64_t>(out.size() - before);
  if (filter_.limit_bytes && printed_ >= *filter_.limit_bytes) {
    out.erase(out.size() - static_cast<size_t>(printed_ - *filter_.limit_bytes));
    full_ = true;
  }
}

uint64_t find_tail(uint64_t size, int64_t lines,
                   const std::function<std::string(uint64_t offset, size_t length)>& read) {
  if (lines <= 0) return size;
  // Backwards, block by block: a whole line begins after a record that is not partial. `later` is the piece of a line
  // that a block cut off.
  std::string later;
  uint64_t end = size;
  int64_t left = lines;
  bool seen_last = false;
  while (end > 0) {
    auto length = static_cast<size_t>(std::min<uint64_t>(kBlock, end));
    auto block = read(end - length, length);
    if (block.size() != length) return end;
    block += later;
    // Every newline in the block ends a record that begins after the newline before it.
    size_t stop = block.size();
    while (true) {
      auto newline = stop == 0 ? std::string::npos : block.rfind('\n', stop - 1);
      if (newline == std::string::npos) break;
      auto before = newline == 0 ? std::string::npos : block.rfind('\n', newline - 1);
      if (before == std::string::npos && end > length) break;  // its beginning is in an earlier block
      auto begin = before == std::string::npos ? 0 : before + 1;
      auto record = parse_log_line(std::string_view(block).substr(begin, newline - begin));
      if (record && !record->partial) {
        if (seen_last && --left == 0) return end - length + newline + 1;
        seen_last = true;
      }
      stop = newline;
    }
    later = block.substr(0, stop == block.size() ? block.size() : stop + 1);
    end -= length;
  }
  return 0;
}

}  // namespace gantry::nodeagent

#include "services/nodeagent/agent/termination_message.h"

#include <fstream>

namespace gantry::nodeagent {

namespace {

constexpr size_t kMostOfFile = 4096, kMostOfLog = 2048, kLogTail = 64 * 1024, kMostLines = 80;

std::string read(std::ifstream& in, size_t most) {
  std::string out(most, 0);
  in.read(out.data(), static_cast<std::streamsize>(most));
  out.resize(static_cast<size_t>(std::max<std::streamsize>(0, in.gcount())));
  return out;
}

// What it wrote, without what CRI puts before each line: "<time> <stream> <F or P> ".
std::string end_of_log(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const auto size = static_cast<size_t>(in.tellg());
  const bool whole = size <= kLogTail;
  in.seekg(static_cast<std::streamoff>(whole ? 0 : size - kLogTail));
  auto raw = read(in, kLogTail);
  std::deque<std::string> lines;
  bool partial = false;
  size_t begin = whole ? 0 : raw.find('\n') + 1;
  while (begin < raw.size()) {
    auto end = raw.find('\n', begin);
    if (end == std::string::npos) end = raw.size();
    auto line = std::string_view(raw).substr(begin, end - begin);
    begin = end + 1;
    size_t from = 0;
    bool more = false;
    for (int field = 0; field < 3 && from != std::string_view::npos; ++field) {
      auto space = line.find(' ', from);
      if (field == 2) more = line.substr(from, 1) == "P";
      from = space == std::string_view::npos ? line.size() : space + 1;
    }
    auto text = line.substr(from);
    if (partial && !lines.empty()) {
      lines.back() += text;
    } else {
      lines.emplace_back(text);
    }
    partial = more;
    if (!more) lines.back() += '\n';
    if (lines.size() > kMostLines) lines.pop_front();
  }
  std::string out;
  for (const auto& line : lines) out += line;
  return out.size() > kMostOfLog ? out.substr(out.size() - kMostOfLog) : out;
}

}  // namespace

std::string termination_message(const Container& container) {
  std::string message;
  auto path = container.annotations.find(kTerminationPathAnnotation);
  if (path != container.annotations.end()) {
    std::ifstream in(path->second, std::ios::binary);
    message = read(in, kMostOfFile);
  }
  auto policy = container.annotations.find(kTerminationPolicyAnnotation);
  if (message.empty() && container.exit_code != 0 && policy != container.annotations.end() &&
      policy->second == "FallbackToLogsOnError")
    message = end_of_log(container.log_path);
  return message;
}

}  // namespace gantry::nodeagent

// Internal to libs/model: the words of a path. `spec.containers[0].image`, `metadata.labels[app.kubernetes.io/name]`,
// `.status.phase`.
#pragma once

#include <string_view>

namespace gantry::model {

struct PathStep {
  std::string_view text;
  bool bracket = false;  // [text]: a map's key or a list's index
};

class PathReader {
 public:
  explicit PathReader(std::string_view path) : rest_(path) {}
  /// False at the end, or at something that is no path: then ok() is false.
  bool next(PathStep& step);
  bool at_end() const { return rest_.empty(); }
  bool at_bracket() const { return !rest_.empty() && rest_.front() == '['; }
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

inline bool PathReader::next(PathStep& step) {
  if (rest_.empty()) return false;
  if (rest_.front() == '[') {
    bool quoted = rest_.size() > 1 && (rest_[1] == '\'' || rest_[1] == '"');
    size_t from = quoted ? 2 : 1;
    size_t end = quoted ? rest_.find(rest_[1], from) : rest_.find(']', from);
    size_t close = quoted && end != std::string_view::npos ? end + 1 : end;
    if (end == std::string_view::npos || close >= rest_.size() || rest_[close] != ']') {
      ok_ = false;
      rest_ = {};
      return false;
    }
    step = {rest_.substr(from, end - from), true};
    rest_.remove_prefix(close + 1);
    return true;
  }
  if (rest_.front() == '.') rest_.remove_prefix(1);
  size_t end = rest_.find_first_of(".[");
  step = {rest_.substr(0, end), false};
  rest_.remove_prefix(step.text.size());
  return !step.text.empty() || (ok_ = false);
}

}  // namespace gantry::model

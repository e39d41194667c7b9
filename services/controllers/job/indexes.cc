#include "services/controllers/job/indexes.h"

#include <algorithm>
#include <charconv>

namespace gantry::controllers {

IndexSet IndexSet::parse(std::string_view text, int limit) {
  IndexSet set;
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    int first = -1, last = -1;
    const char* end = part.data() + part.size();
    auto read = std::from_chars(part.data(), end, first);
    if (read.ec != std::errc()) continue;
    last = first;
    if (read.ptr != end && *read.ptr == '-') std::from_chars(read.ptr + 1, end, last);
    last = std::min(last, limit - 1);
    if (first < 0 || first > last) continue;
    if (!set.runs_.empty() && first <= set.runs_.back().last + 1) {
      set.runs_.back().last = std::max(set.runs_.back().last, last);
    } else {
      set.runs_.push_back({first, last});
    }
  }
  return set;
}

bool IndexSet::has(int index) const {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), index, [](int i, const Run& run) { return i < run.first; });
  return it != runs_.begin() && index <= std::prev(it)->last;
}

void IndexSet::add(int index) {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), index, [](int i, const Run& run) { return i < run.first; });
  if (it != runs_.begin() && index <= std::prev(it)->last) return;
  bool joins_left = it != runs_.begin() && std::prev(it)->last + 1 == index;
  bool joins_right = it != runs_.end() && it->first == index + 1;
  if (joins_left && joins_right) {
    std::prev(it)->last = it->last;
    runs_.erase(it);
  } else if (joins_left) {
    std::prev(it)->last = index;
  } else if (joins_right) {
    it->first = index;
  } else {
    runs_.insert(it, {index, index});
  }
}

int IndexSet::total() const {
  int total = 0;
  for (const Run& run : runs_) total += run.last - run.first + 1;
  return total;
}

std::string IndexSet::to_string() const {
  std::string text;
  for (const Run& run : runs_) {
    if (!text.empty()) text += ',';
    text += std::to_string(run.first);
    if (run.last > run.first) text += (run.last == run.first + 1 ? "," : "-") + std::to_string(run.last);
  }
  return text;
}

int IndexSet::absent_from(int index) const {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), index, [](int i, const Run& run) { return i < run.first; });
  return it != runs_.begin() && index <= std::prev(it)->last ? std::prev(it)->last + 1 : index;
}

int IndexSet::common(const IndexSet& other) const {
  int total = 0;
  for (const Run& a : runs_) {
    for (const Run& b : other.runs_) total += std::max(0, std::min(a.last, b.last) - std::max(a.first, b.first) + 1);
  }
  return total;
}

}  // namespace gantry::controllers

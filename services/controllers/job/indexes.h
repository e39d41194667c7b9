// Completion indexes as a Job's status writes them: "0-3,5,7-9".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::controllers {

/// A set of integers from 0 on, kept as runs. A value: cheap where indexes complete roughly in order.
class IndexSet {
 public:
  /// What cannot be read, and what is not below `limit`, is left out.
  static IndexSet parse(std::string_view text, int limit);

  bool has(int index) const;
  void add(int index);
  int total() const;
  bool empty() const { return runs_.empty(); }
  /// As Kubernetes writes it: two neighbours as "1,2", more as "1-3".
  std::string to_string() const;
  /// The first from `index` on that is not in it.
  int absent_from(int index) const;
  /// How many are in `other` too.
  int common(const IndexSet& other) const;
  bool operator==(const IndexSet&) const = default;

  struct Run {
    int first, last;
    bool operator==(const Run&) const = default;
  };
  const std::vector<Run>& runs() const { return runs_; }

 private:
  std::vector<Run> runs_;  // ascending, with gaps between
};

}  // namespace gantry::controllers

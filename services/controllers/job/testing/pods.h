// A Job's pods in tests: what an agent would do with them, by hand.
#pragma once

#include <string>
#include <vector>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers::testing {

/// The Job d/work as JSON; `spec` and `pod` (of the pod template's spec) are members of theirs.
std::string job(std::string_view spec, std::string_view pod = "");

class JobPods {
 public:
  explicit JobPods(Harness& harness) : h_(harness) {}
  /// Keys of pods that have neither ended nor are being deleted.
  std::vector<std::string> running() const;
  /// The running pod of an index, "" when there is none.
  std::string of_index(int index) const;
  /// How many carry the Job's finalizer.
  size_t tracked() const;

  void succeed(const std::string& key);
  void succeed_all();
  void fail(const std::string& key, int code = 1, std::string_view conditions = "[]");
  /// A user's deletion of a running pod: it gets 30 s.
  void remove(const std::string& key);
  /// What is being deleted comes to its end, as Failed.
  void end_deleted();

 private:
  void end(const std::string& key, std::string_view phase, int code, std::string_view conditions);
  Harness& h_;
};

}  // namespace gantry::controllers::testing

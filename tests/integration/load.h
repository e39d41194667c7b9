// Commits without end: lives of pods (created, bound, changed, mostly deleted) and ConfigMaps, many at once, over a few
// namespaces and nodes. Loop's thread only.
#pragma once

#include <map>
#include <random>
#include <string>

#include "libs/bus/command.h"

namespace gantry::testing {

class Load {
 public:
  static constexpr int kNamespaces = 4, kNodes = 4;
  static std::string ns(int i) { return "team-" + std::to_string(i); }
  static std::string node(int i) { return "n" + std::to_string(i); }

  /// Starts at once, and stops by itself after so many acknowledged commits. `commands` outlives it.
  Load(bus::Commands& commands, uint64_t commits, uint64_t seed);

  uint64_t committed() const { return committed_; }
  /// Adds commits to the goal of a load that has stopped.
  void more(uint64_t commits);
  bool done() const { return running_ == 0; }
  /// What was refused or lost, by reason.
  const std::map<std::string, uint64_t>& failed() const { return failed_; }

 private:
  struct Life;
  void begin();
  void next(std::shared_ptr<Life> life);
  void send(bus::Command command, std::shared_ptr<Life> life);

  bus::Commands& commands_;
  uint64_t goal_ = 0, committed_ = 0, lives_ = 0;
  int running_ = 0;
  std::mt19937_64 random_;
  std::map<std::string, uint64_t> failed_;
};

}  // namespace gantry::testing

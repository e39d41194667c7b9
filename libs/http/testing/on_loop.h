// Waiting and child processes on a UvLoop, for tests whose server runs on that same loop.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "libs/base/uv_loop.h"

namespace gantry::http::testing {

/// Runs the loop until `done()` or the deadline; returns done().
bool run_until(UvLoop& loop, const std::function<bool()>& done,
               std::chrono::milliseconds deadline = std::chrono::seconds(20));

/// A directory under /tmp, removed with all its files.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }
  /// Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

/// A child process; killed when destroyed.
class Process {
 public:
  /// `argv[0]` is found on PATH. `input` is its standard input.
  Process(UvLoop& loop, std::vector<std::string> argv, std::string input = {});
  ~Process();

  bool exited() const;
  int status() const;  // exit status, 128 + signal
  const std::string& out() const;
  const std::string& err() const;
  void kill();

 private:
  struct State;
  State* state_;  // lives until its handles are closed
};

/// Runs to the end. status -1: the deadline passed and it was killed.
struct Finished {
  int status;
  std::string out, err;
};
Finished run_process(UvLoop& loop, std::vector<std::string> argv, std::string input = {},
                     std::chrono::milliseconds deadline = std::chrono::seconds(30));

}  // namespace gantry::http::testing

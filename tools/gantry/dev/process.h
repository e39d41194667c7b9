// Processes that outlive who started them: started in a session and a network namespace of their own, found again by
// pid file.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::dev {

/// A process, not confused with a later one of the same pid.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot
  bool operator==(const ProcessId&) const = default;
};

/// The process that has this pid now.
std::optional<ProcessId> find_process(pid_t pid);
/// True while it runs (a zombie does not).
bool alive(const ProcessId& process);
Status write_pid_file(const std::filesystem::path& path, const ProcessId& process);
/// What the file names, if it is alive.
std::optional<ProcessId> read_pid_file(const std::filesystem::path& path);

struct SpawnOptions {
  std::vector<std::string> command;                // command[0]: a path or a name on PATH
  std::map<std::string, std::string> environment;  // added to this process's own
  std::string log;                                 // appended to; "": inherited
  std::string network_namespace;                   // file to enter, e.g. /run/netns/gantry-node-1; "": the caller's
};
/// Starts it in a session of its own, stdin from /dev/null. kNotFound when there is no such program.
Result<ProcessId> spawn(const SpawnOptions& options);

struct RunOptions {
  std::string network_namespace;
  std::string input;
  int timeout_seconds = 60;
};
/// Runs to the end; its stdout. An exit code other than 0 is an error that carries the command and its output.
Result<std::string> run(const std::vector<std::string>& command, const RunOptions& options = {});

/// SIGTERM, then after `grace_seconds` SIGKILL; returns when it is gone.
void stop_process(const ProcessId& process, int grace_seconds);

/// Every process of this machine: pid and command line, arguments separated by spaces.
std::map<pid_t, std::string> all_processes();

}  // namespace gantry::dev

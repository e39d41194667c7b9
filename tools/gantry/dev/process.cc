#include "tools/gantry/dev/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <sstream>
#include <thread>

#include "tools/gantry/dev/files.h"

extern char** environ;

namespace gantry::dev {
namespace {

using Clock = std::chrono::steady_clock;

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  std::stringstream path(std::string(::getenv("PATH") ? ::getenv("PATH") : "") +
                         ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
  for (std::string folder; std::getline(path, folder, ':');) {
    std::string file = folder + "/" + name;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

/// argv or envp for exec; the strings must outlive it.
std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!added.contains(std::string(text.substr(0, text.find('='))))) out.emplace_back(text);
  }
  for (const auto& [name, value] : added) out.push_back(name + "=" + value);
  return out;
}

struct Descriptors {
  int in = -1, out = -1, err = -1;
};

/// In the child: only what is safe after fork in a threaded process.
[[noreturn]] void become(const char* program, char** argv, char** envp, const Descriptors& fds, int network,
                         bool session) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (session) setsid();
  if (network >= 0 && setns(network, CLONE_NEWNET) != 0) _exit(125);
  dup2(fds.in, 0);
  if (fds.out >= 0) dup2(fds.out, 1);
  if (fds.err >= 0) dup2(fds.err, 2);
  close_range(3, ~0U, 0);  // what our caller holds open (a lock, a pipe) ends with us, not with the cluster
  execve(program, argv, envp);
  _exit(126);
}

Result<pid_t> fork_exec(const std::vector<std::string>& command, const std::map<std::string, std::string>& environment,
                        const Descriptors& fds, const std::string& network_namespace, bool session) {
  const std::string program = find_program(command.at(0));
  if (program.empty()) return Error{.code = Code::kNotFound, .message = fmt::format("no program {}", command[0])};
  auto arguments = command;
  auto variables = merged_environment(environment);
  auto argv = pointers(arguments);
  auto envp = pointers(variables);
  int network = -1;
  if (!network_namespace.empty()) {
    network = ::open(network_namespace.c_str(), O_RDONLY | O_CLOEXEC);
    if (network < 0) return system_error("open " + network_namespace);
  }
  const pid_t pid = ::fork();
  if (pid == 0) become(program.c_str(), argv.data(), envp.data(), fds, network, session);
  if (network >= 0) ::close(network);
  if (pid < 0) return system_error("fork");
  return pid;
}

}  // namespace

std::optional<ProcessId> find_process(pid_t pid) {
  auto stat = read_file(fmt::format("/proc/{}/stat", pid));
  if (!stat) return std::nullopt;
  const size_t end = stat->rfind(')');  // the name before it may hold anything
  if (end == std::string::npos) return std::nullopt;
  std::stringstream fields(stat->substr(end + 2));
  std::string field;
  fields >> field;
  if (field == "Z" || field == "X") return std::nullopt;
  for (int i = 4; i <= 22; ++i) fields >> field;
  return ProcessId{pid, std::strtoull(field.c_str(), nullptr, 10)};
}

bool alive(const ProcessId& process) { return process.pid > 0 && find_process(process.pid) == process; }

Status write_pid_file(const std::filesystem::path& path, const ProcessId& process) {
  return write_file(path, fmt::format("{} {}\n", process.pid, process.start_time));
}

std::optional<ProcessId> read_pid_file(const std::filesystem::path& path) {
  auto text = read_file(path);
  if (!text) return std::nullopt;
  ProcessId process;
  std::stringstream(*text) >> process.pid >> process.start_time;
  if (!alive(process)) return std::nullopt;
  return process;
}

Result<ProcessId> spawn(const SpawnOptions& options) {
  Descriptors fds;
  fds.in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (!options.log.empty()) {
    fds.out = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fds.out < 0) {
      ::close(fds.in);
      return system_error("open " + options.log);
    }
    fds.err = fds.out;
  }
  auto pid = fork_exec(options.command, options.environment, fds, options.network_namespace, true);
  ::close(fds.in);
  if (fds.out >= 0) ::close(fds.out);
  if (!pid) return pid.error();
  if (auto process = find_process(*pid)) return *process;
  return Error{.code = Code::kInternal, .message = fmt::format("{} ended at once", options.command[0])};
}

Result<std::string> run(const std::vector<std::string>& command, const RunOptions& options) {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) return system_error("pipe");
  auto pid = fork_exec(command, {}, {.in = in[0], .out = out[1], .err = out[1]}, options.network_namespace, false);
  ::close(in[0]);
  ::close(out[1]);
  if (pid && !options.input.empty()) {
    // Inputs here are far below a pipe's capacity.
    if (::write(in[1], options.input.data(), options.input.size()) < 0)
      LOG(WARNING) << "input of " << command[0] << " is lost";
  }
  ::close(in[1]);
  if (!pid) {
    ::close(out[0]);
    return pid.error();
  }
  std::string output;
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  bool late = false;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd readable{out[0], POLLIN, 0};
    if (left <= 0 || ::poll(&readable, 1, static_cast<int>(left)) == 0) {
      late = true;
      ::kill(*pid, SIGKILL);
      break;
    }
    char buffer[4096];
    const ssize_t n = ::read(out[0], buffer, sizeof buffer);
    if (n <= 0) break;
    output.append(buffer, static_cast<size_t>(n));
  }
  ::close(out[0]);
  int status = 0;
  ::waitpid(*pid, &status, 0);
  if (late) {
    return Error{
        .code = Code::kTimeout,
        .message = fmt::format("`{}` did not end within {} s", fmt::join(command, " "), options.timeout_seconds)};
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error{
        .code = Code::kInternal,
        .message = fmt::format("`{}` failed: {}", fmt::join(command, " "), output.empty() ? "no output" : output)};
  }
  return output;
}

void stop_process(const ProcessId& process, int grace_seconds) {
  const auto deadline = Clock::now() + std::chrono::seconds(grace_seconds);
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0));
  if (fd < 0 || !alive(process)) {
    if (fd >= 0) ::close(fd);
    return;
  }
  ::kill(process.pid, SIGTERM);
  bool killed = false;
  while (alive(process)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0 && !killed) {
      ::kill(process.pid, SIGKILL);
      killed = true;
    }
    pollfd ended{fd, POLLIN, 0};
    ::poll(&ended, 1, killed ? 100 : static_cast<int>(left));
    ::waitpid(process.pid, nullptr, WNOHANG);  // if it is a child of ours
  }
  ::close(fd);
}

std::map<pid_t, std::string> all_processes() {
  std::map<pid_t, std::string> out;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return out;
  while (dirent* entry = ::readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    auto line = read_file(fmt::format("/proc/{}/cmdline", pid));
    if (!line || line->empty()) continue;  // a kernel thread
    std::replace(line->begin(), line->end(), '\0', ' ');
    out[pid] = *line;
  }
  ::closedir(proc);
  return out;
}

}  // namespace gantry::dev

#include "services/nodeagent/cri/stop_signal.h"

#include <charconv>
#include <csignal>
#include <map>

namespace gantry::nodeagent {

namespace {

// Of the kernel: the C library keeps some for itself.
constexpr int kRealTimeFirst = 34, kRealTimeLast = 64;

const std::map<std::string_view, int>& names() {
  static const auto& names = *new std::map<std::string_view, int>{
      {"ABRT", SIGABRT},       {"ALRM", SIGALRM},     {"BUS", SIGBUS},     {"CHLD", SIGCHLD}, {"CLD", SIGCHLD},
      {"CONT", SIGCONT},       {"FPE", SIGFPE},       {"HUP", SIGHUP},     {"ILL", SIGILL},   {"INT", SIGINT},
      {"IO", SIGIO},           {"IOT", SIGIOT},       {"KILL", SIGKILL},   {"PIPE", SIGPIPE}, {"POLL", SIGPOLL},
      {"PROF", SIGPROF},       {"PWR", SIGPWR},       {"QUIT", SIGQUIT},   {"SEGV", SIGSEGV}, {"STKFLT", SIGSTKFLT},
      {"STOP", SIGSTOP},       {"SYS", SIGSYS},       {"TERM", SIGTERM},   {"TRAP", SIGTRAP}, {"TSTP", SIGTSTP},
      {"TTIN", SIGTTIN},       {"TTOU", SIGTTOU},     {"URG", SIGURG},     {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
      {"XCPU", SIGXCPU},       {"VTALRM", SIGVTALRM}, {"WINCH", SIGWINCH}, {"XFSZ", SIGXFSZ}, {"RTMIN", kRealTimeFirst},
      {"RTMAX", kRealTimeLast}};
  return names;
}

}  // namespace

std::optional<int> signal_number(std::string_view name) {
  if (!name.starts_with("SIG")) return std::nullopt;
  name.remove_prefix(3);
  if (const auto found = names().find(name); found != names().end()) return found->second;
  const bool up = name.starts_with("RTMIN+");
  if (!up && !name.starts_with("RTMAX-")) return std::nullopt;
  name.remove_prefix(6);
  int offset = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), offset);
  if (error != std::errc() || end != name.data() + name.size() || offset < 0) return std::nullopt;
  const int number = up ? kRealTimeFirst + offset : kRealTimeLast - offset;
  if (number < kRealTimeFirst || number > kRealTimeLast) return std::nullopt;
  return number;
}

}  // namespace gantry::nodeagent

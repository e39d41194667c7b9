#include "services/nodeagent/cri/testing/registry.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

namespace gantry::testing {

namespace {

// bcrypt of kPassword: all that the registry reads.
constexpr char kHash[] = "$2b$04$FMsfvLqukTrxwOR5SfMnnOzSwij//RPQu87u03LL/s7Z.JPT8WBJe";

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(0);
  socklen_t size = sizeof address;
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

bool listens(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = loopback(port);
  const bool connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

}  // namespace

Result<std::unique_ptr<Registry>> Registry::start(bool password) {
  char name[] = "/tmp/gantry-registry-XXXXXX";
  if (mkdtemp(name) == nullptr) return Error{Code::kInternal, "mkdtemp failed"};
  std::unique_ptr<Registry> r(new Registry);
  r->directory_ = name;
  const auto port = free_port();
  r->address_ = fmt::format("127.0.0.1:{}", port);
  const auto config = r->directory_ + "/config.yml", users = r->directory_ + "/htpasswd";
  std::ofstream(users) << kUser << ":" << kHash << "\n";
  std::ofstream(config) << fmt::format(
      "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
      "storage: {{filesystem: {{rootdirectory: {}/data}}}}\nhttp: {{addr: \"{}\"}}\n",
      r->directory_, r->address_);
  if (password)
    std::ofstream(config, std::ios::app) << fmt::format("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", users);
  r->pid_ = fork();
  if (r->pid_ == 0) {
    const int log = open((r->directory_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(log, 1);
    dup2(log, 2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("docker-registry", "docker-registry", "serve", config.c_str(), nullptr);
    _exit(127);
  }
  for (int i = 0; i < 600; ++i) {
    if (listens(port)) return r;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return Error{Code::kUnavailable, "the registry does not listen; see " + r->directory_ + "/log"};
}

Registry::~Registry() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

}  // namespace gantry::testing

#include "tests/integration/gateway.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

namespace gantry::testing {

Gateway::Gateway(const bus::NatsOptions& nats, std::string redis) : nats_(nats), redis_(std::move(redis)) { start(); }

void Gateway::start() {
  const auto binary = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "gantry-apigw";
  CHECK(std::filesystem::exists(binary)) << binary;
  std::vector<std::string> words{binary.string(), "--nats-url",      nats_.url,     "--nats-ca",  nats_.ca_file,
                                 "--nats-creds",  nats_.creds_file,  "--redis",     redis_,       "--listen",
                                 "127.0.0.1:0",   "--health-listen", "127.0.0.1:0", "--keep-log", "10000000"};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(argv[0], argv.data());
    _exit(127);
  }
}

void Gateway::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace gantry::testing

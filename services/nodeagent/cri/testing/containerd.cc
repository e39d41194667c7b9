#include "services/nodeagent/cri/testing/containerd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace gantry::testing {

namespace fs = std::filesystem;

namespace {

std::string run(const std::string& command) {
  std::string out;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  return pclose(pipe) == 0 ? out : std::string();
}

// Tests run beside each other, and their pods on the same host: two with one address would answer for each other.
int claim_subnet(int& number) {
  for (number = 1; number < 255; ++number) {
    const int lock =
        open(fmt::format("/tmp/gantry-test-subnet-{}", number).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) return lock;
    if (lock >= 0) close(lock);
  }
  return -1;
}

std::string images() { return fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "images"; }

}  // namespace

Result<std::unique_ptr<Containerd>> Containerd::start() {
  char name[] = "/tmp/gantry-containerd-XXXXXX";
  if (mkdtemp(name) == nullptr) return Error{Code::kInternal, "mkdtemp failed"};
  std::unique_ptr<Containerd> c(new Containerd);
  c->directory_ = name;
  c->cgroup_ = "/gantry-test-" + std::to_string(getpid());
  int number = 0;
  c->subnet_lock_ = claim_subnet(number);
  if (c->subnet_lock_ < 0) return Error{Code::kUnavailable, "every network of 10.199.0.0/16 is in use by a test"};
  c->subnet_ = fmt::format("10.199.{}.", number);
  fs::create_directories(c->cni_directory());
  std::ofstream(c->cni_directory() + "/10-test.conflist") << fmt::format(
      R"({{"cniVersion":"0.4.0","name":"gantry-test-{0}","plugins":[{{"type":"ptp","mtu":1450,"ipMasq":false,
"ipam":{{"type":"host-local","dataDir":"{1}/ipam","ranges":[[{{"subnet":"{2}0/24"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}}]}})",
      getpid(), c->directory_, c->subnet_);
  std::ofstream(c->directory_ + "/config.toml") << fmt::format(R"(version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{0}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "gantry.local/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{0}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{0}/runc"
)",
                                                               c->directory_);
  if (auto s = c->spawn(); !s.ok()) return s.error();
  for (const char* image : {"pause-1", "busybox-1"}) {
    auto out = c->ctr(fmt::format("-n k8s.io images import {}/{}.tar", images(), image));
    if (out.empty()) return Error{Code::kInternal, fmt::format("importing {}/{}.tar failed", images(), image)};
  }
  return c;
}

Status Containerd::spawn() {
  unlink(socket().c_str());
  pid_ = fork();
  if (pid_ == 0) {
    int log = open((directory_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(log, 1);
    dup2(log, 2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("containerd", "containerd", "-c", (directory_ + "/config.toml").c_str(), nullptr);
    _exit(127);
  }
  for (int i = 0; i < 600; ++i) {
    if (!ctr("version").empty() && ctr("plugins ls").find("cri") != std::string::npos) return Done{};
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return Error{Code::kUnavailable, "containerd does not answer; see " + directory_ + "/log"};
}

void Containerd::kill9() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Status Containerd::restart() {
  kill9();
  return spawn();
}

std::string Containerd::ctr(const std::string& arguments) const {
  return run(fmt::format("ctr -a {} {}", socket(), arguments));
}

std::string Containerd::leftovers() const {
  std::string out = ctr("-n k8s.io containers ls -q");
  out += run(fmt::format("ctr -a {} -n k8s.io snapshots ls | grep gantry-image-volume || true", socket()));
  out += run(fmt::format("grep -F {} /proc/self/mounts | grep -v '{}/state/io.containerd.grpc.v1.cri/netns$' || true",
                         directory_, directory_));
  out += run(fmt::format("pgrep -af 'containerd-shi[m].*{}' || true", directory_));
  return out;
}

Containerd::~Containerd() {
  if (pid_ > 0) {
    std::istringstream ids(ctr("-n k8s.io tasks ls -q"));
    for (std::string id; ids >> id;) ctr("-n k8s.io tasks kill -s SIGKILL " + id);
    for (int i = 0; i < 100 && ctr("-n k8s.io tasks ls").find("RUNNING") != std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::istringstream again(ctr("-n k8s.io tasks ls -q"));
    for (std::string id; again >> id;) ctr("-n k8s.io tasks rm -f " + id);
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  // Those whose containers containerd forgot when it was killed.
  run(fmt::format("pkill -KILL -f 'containerd-shi[m].*{}' || true", directory_));
  std::ifstream mounts("/proc/self/mounts");
  std::vector<std::string> ours;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, target;
    words >> device >> target;
    if (target.rfind(directory_, 0) == 0) ours.push_back(target);
  }
  for (auto it = ours.rbegin(); it != ours.rend(); ++it) umount2(it->c_str(), MNT_DETACH);
  run(fmt::format("find /sys/fs/cgroup -depth -type d -path '*{0}*' -exec rmdir {{}} +", cgroup_));
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
  if (subnet_lock_ >= 0) close(subnet_lock_);
}

}  // namespace gantry::testing

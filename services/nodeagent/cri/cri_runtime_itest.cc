// CriRuntime against a real containerd.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "libs/base/ids.h"
#include "services/nodeagent/cri/cri_runtime.h"
#include "services/nodeagent/cri/stop_signal.h"
#include "services/nodeagent/cri/testing/containerd.h"

namespace gantry::nodeagent {
namespace {

constexpr char kBusybox[] = "gantry.local/busybox:1";

class CriRuntimeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto started = testing::Containerd::start();
    ASSERT_TRUE(started.ok()) << started.error().message;
    containerd_ = started->release();
  }
  static void TearDownTestSuite() {
    delete containerd_;
    containerd_ = nullptr;
  }
  void SetUp() override {
    ASSERT_NE(containerd_, nullptr);
    runtime_ = make_cri_runtime(loop_, {containerd_->socket(), containerd_->directory() + "/exec"});
    Runtime::Events events;
    events.changed = [this](const std::string& uid) { changed_.push_back(uid); };
    events.connected = [this] { ++connected_; };
    events.disconnected = [this](const std::string&) { ++disconnected_; };
    events.oom = [](const std::string&) {};
    runtime_->start(std::move(events));
    ASSERT_TRUE(until([this] { return connected_ > 0; }));
    uid_ = new_uid();
    sandbox_.name = "web";
    sandbox_.ns = "default";
    sandbox_.uid = uid_;
    sandbox_.hostname = "web";
    sandbox_.log_directory = containerd_->directory() + "/logs/" + uid_;
    sandbox_.cgroup_parent = containerd_->cgroup();
    sandbox_.labels = {{kPodUidLabel, uid_}, {kPodNameLabel, "web"}, {kPodNamespaceLabel, "default"}};
    std::filesystem::create_directories(sandbox_.log_directory + "/main");
  }
  void TearDown() override {
    if (!runtime_) return;
    auto pod = observe();
    for (const auto& s : pod.sandboxes) {
      EXPECT_TRUE(wait<Done>([&](auto done) { runtime_->stop_sandbox(s.id, done); }).ok());
      EXPECT_TRUE(wait<Done>([&](auto done) { runtime_->remove_sandbox(s.id, done); }).ok());
    }
    runtime_.reset();
    loop_.run_once(false);
  }

  bool until(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(30)) {
    auto end = loop_.now() + limit;
    auto tick = loop_.every(std::chrono::milliseconds(20), [] {});
    while (!condition()) {
      if (loop_.now() > end) return false;
      loop_.run_once();
    }
    return true;
  }
  template <typename T>
  Result<T> wait(const std::function<void(std::function<void(Result<T>)>)>& call) {
    std::optional<Result<T>> out;
    call([&](Result<T> r) { out.emplace(std::move(r)); });
    if (!until([&] { return out.has_value(); }, std::chrono::minutes(2))) return Error{Code::kTimeout, "no answer"};
    return std::move(*out);
  }
  RuntimePod observe() {
    auto r = wait<RuntimePod>([&](auto done) { runtime_->observe(uid_, done); });
    return r.ok() ? *r : RuntimePod();
  }
  // A sandbox with one container that runs `script`; its id.
  std::string run(const std::string& script, const std::function<void(ContainerConfig&)>& change = {}) {
    auto sandbox = wait<std::string>([&](auto done) { runtime_->run_sandbox(sandbox_, done); });
    EXPECT_TRUE(sandbox.ok()) << sandbox.error().message;
    if (!sandbox.ok()) return "";
    ContainerConfig config;
    config.name = "main";
    config.image = kBusybox;
    config.command = {"sh", "-c", script};
    config.labels = sandbox_.labels;
    config.labels[kContainerNameLabel] = "main";
    config.log_path = "main/0.log";
    if (change) change(config);
    auto id = wait<std::string>([&](auto done) { runtime_->create_container(*sandbox, sandbox_, config, done); });
    EXPECT_TRUE(id.ok()) << id.error().message;
    if (!id.ok()) return "";
    auto started = wait<Done>([&](auto done) { runtime_->start_container(*id, done); });
    EXPECT_TRUE(started.ok()) << started.error().message;
    return *id;
  }

  struct Ran {
    Result<int> exit = Error{};
    std::string out, err;
    bool finished = false;
    std::unique_ptr<Process> process;
  };
  std::unique_ptr<Ran> exec(const std::string& id, ExecOptions options) {
    auto ran = std::make_unique<Ran>();
    Process::Callbacks callbacks;
    callbacks.output = [r = ran.get()](bool is_stderr, std::string_view data) {
      (is_stderr ? r->err : r->out) += data;
    };
    callbacks.output_end = [](bool) {};
    callbacks.exited = [r = ran.get()](Result<int> code) {
      r->exit = std::move(code);
      r->finished = true;
    };
    callbacks.drained = [] {};
    auto process = wait<std::unique_ptr<Process>>([&](auto done) {
      runtime_->exec(id, options, callbacks, [done](Result<std::unique_ptr<Process>> p) { done(std::move(p)); });
    });
    EXPECT_TRUE(process.ok()) << process.error().message;
    if (process.ok()) ran->process = std::move(*process);
    return ran;
  }
  // Its process handles all signals of the mask: before it has set its traps it would not hear them.
  bool traps(const std::string& id, uint64_t mask) {
    return until([&] {
      auto said = exec(id, {{"sh", "-c", "grep SigCgt /proc/1/status"}});
      until([&] { return said->finished; });
      const auto caught = said->out.size() < 8 ? 0 : std::strtoull(said->out.c_str() + 8, nullptr, 16);
      return (caught & mask) == mask;
    });
  }

  static testing::Containerd* containerd_;
  UvLoop loop_;
  std::unique_ptr<Runtime> runtime_;
  SandboxConfig sandbox_;
  std::string uid_;
  std::vector<std::string> changed_;
  int connected_ = 0, disconnected_ = 0;
};

testing::Containerd* CriRuntimeTest::containerd_ = nullptr;

TEST_F(CriRuntimeTest, StatusNamesTheRuntime) {
  auto status = wait<RuntimeStatus>([&](auto done) { runtime_->status(done); });
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(status->name, "containerd");
  EXPECT_TRUE(status->ready) << status->reason;
}

TEST_F(CriRuntimeTest, AnEndIsToldAndSeen) {
  auto id = run("echo hello; sleep 0.3; exit 3");
  ASSERT_FALSE(id.empty());
  EXPECT_TRUE(until([&] { return !changed_.empty() && observe().containers.at(0).state == ContainerState::kExited; }));
  auto pod = observe();
  ASSERT_EQ(pod.containers.size(), 1u);
  EXPECT_EQ(pod.containers[0].exit_code, 3);
  EXPECT_GT(pod.containers[0].finished_at, pod.containers[0].started_at);
  EXPECT_EQ(pod.sandboxes.at(0).ips.size(), 1u);
  EXPECT_EQ(changed_[0], uid_);
}

// CRI may still list a container as created when containerd tells its end. Looking only when told to must be enough.
TEST_F(CriRuntimeTest, ContainersThatEndAtOnceAreSeenToEnd) {
  auto sandbox = wait<std::string>([&](auto done) { runtime_->run_sandbox(sandbox_, done); });
  ASSERT_TRUE(sandbox.ok()) << sandbox.error().message;
  for (int i = 0; i < 8; ++i) {
    ContainerConfig config;
    config.name = fmt::format("c{}", i);
    config.image = kBusybox;
    config.command = {"true"};
    config.labels = sandbox_.labels;
    config.labels[kContainerNameLabel] = config.name;
    config.log_path = config.name + "/0.log";
    auto id = wait<std::string>([&](auto done) { runtime_->create_container(*sandbox, sandbox_, config, done); });
    ASSERT_TRUE(id.ok()) << id.error().message;
    size_t looked = changed_.size();
    bool started = false;
    runtime_->start_container(*id, [&](Result<Done>) { started = true; });
    auto ended = [&] {
      if (looked == changed_.size()) return false;
      looked = changed_.size();
      const RuntimePod pod = observe();
      return std::any_of(pod.containers.begin(), pod.containers.end(),
                         [&](const auto& c) { return c.id == *id && c.state == ContainerState::kExited; });
    };
    EXPECT_TRUE(until(ended, std::chrono::seconds(20))) << i;
    EXPECT_TRUE(until([&] { return started; }, std::chrono::seconds(30)));
  }
}

TEST_F(CriRuntimeTest, ExecPassesStdinToItsEndAndTheExitCode) {
  auto id = run("sleep 1000");
  ASSERT_FALSE(id.empty());
  ExecOptions options;
  options.command = {"sh", "-c", "cat; echo oops >&2; exit 7"};
  options.in = true;
  auto ran = exec(id, options);
  ASSERT_TRUE(ran->process);
  std::string sent;
  while (sent.size() < 3'000'000) {
    std::string line = fmt::format("line {}\n", sent.size());
    ran->process->write(line);
    sent += line;
  }
  ran->process->close_stdin();
  ASSERT_TRUE(until([&] { return ran->finished; }));
  ASSERT_TRUE(ran->exit.ok()) << ran->exit.error().message;
  EXPECT_EQ(*ran->exit, 7);
  EXPECT_TRUE(ran->out == sent) << ran->out.size() << " of " << sent.size();
  EXPECT_EQ(ran->err, "oops\n");
}

TEST_F(CriRuntimeTest, ExecWithAnEmptyStdinEnds) {
  auto id = run("sleep 1000");
  ExecOptions options;
  options.command = {"cat"};
  options.in = true;
  auto ran = exec(id, options);
  ASSERT_TRUE(ran->process);
  ran->process->close_stdin();
  ASSERT_TRUE(until([&] { return ran->finished; }));
  EXPECT_EQ(ran->exit.ok() ? *ran->exit : -1, 0);
}

TEST_F(CriRuntimeTest, AttachJoinsTheProcessAndLeavesItAlone) {
  auto id = run("while read line; do echo heard $line; done; exit 4", [](ContainerConfig& c) { c.in = true; });
  ASSERT_FALSE(id.empty());
  ExecOptions options;
  options.in = true;
  for (int round = 0; round < 2; ++round) {
    Ran ran;
    Process::Callbacks callbacks;
    callbacks.output = [&](bool is_stderr, std::string_view data) { (is_stderr ? ran.err : ran.out) += data; };
    callbacks.output_end = [](bool) {};
    callbacks.exited = [&](Result<int>) { ran.finished = true; };
    callbacks.drained = [] {};
    auto process = wait<std::unique_ptr<Process>>([&](auto done) {
      runtime_->attach(id, options, callbacks, [done](Result<std::unique_ptr<Process>> p) { done(std::move(p)); });
    });
    ASSERT_TRUE(process.ok()) << process.error().message;
    (*process)->write(fmt::format("round {}\n", round));
    EXPECT_TRUE(until([&] { return ran.out == fmt::format("heard round {}\n", round); })) << ran.out;
    EXPECT_FALSE(ran.finished);
  }
  EXPECT_EQ(observe().containers.at(0).state, ContainerState::kRunning) << "letting go detaches";
}

TEST_F(CriRuntimeTest, AnAttachmentEndsStdinOnceAndWithTheContainer) {
  auto id = run("cat; exit 4", [](ContainerConfig& c) { c.in = c.stdin_once = true; });
  ASSERT_FALSE(id.empty());
  ExecOptions options;
  options.in = true;
  Ran ran;
  Process::Callbacks callbacks;
  callbacks.output = [&](bool, std::string_view data) { ran.out += data; };
  callbacks.exited = [&](Result<int>) { ran.finished = true; };
  auto process = wait<std::unique_ptr<Process>>([&](auto done) {
    runtime_->attach(id, options, callbacks, [done](Result<std::unique_ptr<Process>> p) { done(std::move(p)); });
  });
  ASSERT_TRUE(process.ok()) << process.error().message;
  (*process)->write("all of it");
  (*process)->close_stdin();
  EXPECT_TRUE(until([&] { return ran.finished; }));
  EXPECT_EQ(ran.out, "all of it");
  EXPECT_TRUE(until([&] { return observe().containers.at(0).state == ContainerState::kExited; }));
  EXPECT_EQ(observe().containers.at(0).exit_code, 4);
}

TEST_F(CriRuntimeTest, ExecOnATerminal) {
  auto id = run("sleep 1000");
  ExecOptions options;
  options.command = {"sh", "-c", "sleep 0.3; stty size; tty"};
  options.in = options.tty = true;
  auto ran = exec(id, options);
  ASSERT_TRUE(ran->process);
  ran->process->resize(101, 37);
  ASSERT_TRUE(until([&] { return ran->finished; }));
  EXPECT_NE(ran->out.find("37 101"), std::string::npos) << ran->out;
}

TEST_F(CriRuntimeTest, ExecOfAProgramThatIsNotThereSaysSo) {
  auto id = run("sleep 1000");
  Process::Callbacks callbacks;
  ExecOptions options;
  options.command = {"/no/such/program"};
  auto r = wait<std::unique_ptr<Process>>([&](auto done) { runtime_->exec(id, options, callbacks, done); });
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.error().message.find("no such file"), std::string::npos) << r.error().message;
}

TEST_F(CriRuntimeTest, AnAbandonedExecIsKilled) {
  auto id = run("sleep 1000");
  ExecOptions options;
  options.command = {"sleep", "4242"};
  auto ran = exec(id, options);
  ASSERT_TRUE(ran->process);
  ran->process.reset();
  ExecOptions look;
  look.command = {"sh", "-c", "ps | grep -c '[s]leep 4242'"};
  EXPECT_TRUE(until([&] {
    auto seen = exec(id, look);
    until([&] { return seen->finished; });
    return seen->out == "0\n";
  }));
}

TEST(StopSignal, HasItsNumber) {
  EXPECT_EQ(signal_number("SIGTERM"), 15);
  EXPECT_EQ(signal_number("SIGRTMIN"), 34);
  EXPECT_EQ(signal_number("SIGRTMIN+3"), 37);
  EXPECT_EQ(signal_number("SIGRTMAX-14"), 50);
  for (const char* none : {"", "TERM", "SIGNONE", "SIGRTMIN+31", "SIGRTMAX-x"})
    EXPECT_EQ(signal_number(none), std::nullopt) << none;
}

TEST_F(CriRuntimeTest, StopIsGentleThenNot) {
  auto id = run("trap 'exit 9' TERM; while true; do sleep 0.1; done");
  ASSERT_TRUE(traps(id, 0x4000));
  ASSERT_TRUE(wait<Done>([&](auto done) { runtime_->stop_container(id, std::chrono::seconds(10), "", done); }).ok());
  ASSERT_TRUE(until([&] { return observe().containers.at(0).state == ContainerState::kExited; }));
  EXPECT_EQ(observe().containers[0].exit_code, 9);
}

TEST_F(CriRuntimeTest, StopsByTheSignalOfThePod) {
  auto id = run("trap 'exit 10' USR1; trap 'exit 9' TERM; while true; do sleep 0.1; done");
  ASSERT_TRUE(traps(id, 0x4200));
  const auto stop = [&](auto done) { runtime_->stop_container(id, std::chrono::seconds(10), "SIGUSR1", done); };
  ASSERT_TRUE(wait<Done>(stop).ok());
  ASSERT_TRUE(until([&] { return observe().containers.at(0).state == ContainerState::kExited; }));
  EXPECT_EQ(observe().containers[0].exit_code, 10);
  EXPECT_TRUE(wait<Done>(stop).ok()) << "what has ended needs no stopping";
}

TEST_F(CriRuntimeTest, AnImagesFilesAreHeldUntilTheyAreReleased) {
  auto image = wait<std::optional<Image>>([&](auto done) { runtime_->find_image(kBusybox, done); });
  ASSERT_TRUE(image.ok() && *image);
  const auto hold = [&](auto done) { runtime_->hold_image(uid_ + "/files", (*image)->id, done); };
  auto first = wait<std::vector<FsMount>>(hold), again = wait<std::vector<FsMount>>(hold);
  ASSERT_TRUE(first.ok()) << first.error().message;
  ASSERT_TRUE(again.ok()) << again.error().message;
  ASSERT_EQ(first->size(), 1u);
  EXPECT_EQ(again->at(0).source, first->at(0).source);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(wait<Done>([&](auto done) { runtime_->release_image(uid_ + "/files", done); }).ok());
  // All of the digest: the beginning of one that is there would do.
  const std::string none = "sha256:" + std::string(64, '0');
  EXPECT_FALSE(wait<std::vector<FsMount>>([&](auto done) { runtime_->hold_image(uid_ + "/files", none, done); }).ok());
}

TEST_F(CriRuntimeTest, PortsAreReachedInThePodsNetwork) {
  auto id = run("echo 'hello from the pod' | nc -l -p 8080");
  auto sandbox = observe().sandboxes.at(0).id;
  Result<int> fd = Error{};
  ASSERT_TRUE(until([&] {
    fd = wait<int>([&](auto done) { runtime_->connect_port(sandbox, 8080, done); });
    return fd.ok();
  })) << fd.error().message;
  std::string got;
  EXPECT_TRUE(until([&] {
    char buffer[256];
    auto n = read(*fd, buffer, sizeof buffer);
    if (n > 0) got.append(buffer, static_cast<size_t>(n));
    return n == 0;
  }));
  close(*fd);
  EXPECT_EQ(got, "hello from the pod\n");
}

TEST_F(CriRuntimeTest, ContainersOutliveContainerdAndAreSeenAgain) {
  auto id = run("sleep 1000");
  containerd_->kill9();
  ASSERT_TRUE(until([&] { return disconnected_ > 0; }));
  EXPECT_FALSE(wait<RuntimePod>([&](auto done) { runtime_->observe(uid_, done); }).ok());
  ASSERT_TRUE(containerd_->restart().ok());
  ASSERT_TRUE(until([&] { return connected_ > 1; }));
  auto pod = observe();
  ASSERT_EQ(pod.containers.size(), 1u);
  EXPECT_EQ(pod.containers[0].id, id);
  EXPECT_EQ(pod.containers[0].state, ContainerState::kRunning);
}

// As a StartContainer leaves it whose caller died midway: CRI says ended, and there is a task.
TEST_F(CriRuntimeTest, ATaskThatCriForgotCountsAndIsEnded) {
  auto id = run("[ ! -e /again ] || exec sleep 1000; touch /again");
  ASSERT_TRUE(until([&] {
    auto pod = observe();
    return !pod.containers.empty() && pod.containers[0].state == ContainerState::kExited;
  }));
  containerd_->ctr("-n k8s.io tasks start -d " + id);
  ASSERT_NE(containerd_->ctr("-n k8s.io tasks ls -q").find(id), std::string::npos);
  runtime_ = make_cri_runtime(loop_, {containerd_->socket(), containerd_->directory() + "/exec"});
  changed_.clear();
  Runtime::Events events;
  events.changed = [this](const std::string& uid) { changed_.push_back(uid); };
  events.connected = [] {};
  events.disconnected = [](const std::string&) {};
  runtime_->start(std::move(events));
  auto pod = observe();
  ASSERT_EQ(pod.containers.size(), 1u);
  EXPECT_EQ(pod.containers[0].state, ContainerState::kUnknown) << "nothing takes its place while it may run";
  ASSERT_TRUE(until([&] { return std::count(changed_.begin(), changed_.end(), uid_) > 0; }));
  ASSERT_TRUE(until([&] { return observe().containers[0].state == ContainerState::kExited; }));
  EXPECT_EQ(containerd_->ctr("-n k8s.io tasks ls -q").find(id), std::string::npos);
  EXPECT_TRUE(wait<Done>([&](auto done) { runtime_->remove_container(id, done); }).ok());
}

}  // namespace
}  // namespace gantry::nodeagent

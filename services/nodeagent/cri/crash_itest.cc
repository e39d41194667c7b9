// kill -9 of containerd and of shims, and the agent dropped on the spot, at random moments of a random workload: no
// container is lost, doubled or orphaned, and the status is right at the end.
//   GANTRY_KILLS (20) of them, chosen by GANTRY_SEED (1). tools/load/node does the same to the agent's process.
#include <cstdlib>
#include <random>
#include <sstream>

#include "services/nodeagent/cri/testing/agent_story.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int from_environment(const char* name, int fallback) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : fallback;
}

struct Wanted {
  enum class Kind : uint8_t { kStays, kEnds, kWhole } kind;
  int exit_code = 0;       // of one that ends
  bool disturbed = false;  // its shim was killed: its containers may be others
  std::string first_id;    // of its main container, once seen running
  std::string uid;
};

class CrashTest : public NodeAgentTest {
 protected:
  int random(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  void create() {
    auto name = fmt::format("pod-{}", ++made_);
    Wanted w;
    switch (random(4)) {
      case 0:
        w.kind = Wanted::Kind::kEnds;
        w.exit_code = random(2);
        put(name, fmt::format(
                      R"({{"restartPolicy":"Never","terminationGracePeriodSeconds":1,"containers":[{{"name":"main",
            "image":"gantry.local/busybox:1","command":["sh","-c","sleep 0.{}; exit {}"]}}]}})",
                      1 + random(9), w.exit_code));
        break;
      case 1:
        w.kind = Wanted::Kind::kWhole;
        put(name, R"({"terminationGracePeriodSeconds":1,"volumes":[{"name":"v","emptyDir":{"medium":"Memory"}}],
            "initContainers":[{"name":"init","image":"gantry.local/busybox:1","command":["sh","-c","echo x > /v/x"],
                "volumeMounts":[{"name":"v","mountPath":"/v"}]},
              {"name":"side","image":"gantry.local/busybox:1","restartPolicy":"Always","command":["sleep","100000"]}],
            "containers":[{"name":"main","image":"gantry.local/busybox:1","command":["sleep","100000"],
                "volumeMounts":[{"name":"v","mountPath":"/v"}]}]})");
        break;
      default:
        w.kind = Wanted::Kind::kStays;
        put(name, R"({"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"gantry.local/busybox:1",
            "command":["sleep","100000"]}]})");
    }
    w.uid = api_.pod("default", name)->uid();
    wanted_[name] = w;
  }

  void remove() {
    if (wanted_.empty()) return;
    auto victim = std::next(wanted_.begin(), random(static_cast<int>(wanted_.size())));
    if (random(4) == 0) {
      api_.remove_pod("default", victim->first);
    } else {
      api_.delete_pod("default", victim->first, 1);
    }
    wanted_.erase(victim);
  }

  void work(milliseconds time) {
    auto end = loop_.now() + time;
    until([&] { return loop_.now() >= end; });
    look();
  }

  // What the agent has seen: never two of one container at once, and the one that runs is always the same.
  void look() {
    agent_->for_each([&](const PodWorker& worker) {
      std::map<std::string, int> running;
      for (const auto& c : worker.observed().containers) {
        if (c.state != ContainerState::kRunning) continue;
        EXPECT_EQ(++running[c.name], 1) << c.name << " of " << worker.observed().name << " runs twice";
        auto w = wanted_.find(worker.observed().name);
        if (w == wanted_.end() || c.name != "main" || w->second.kind == Wanted::Kind::kEnds) continue;
        if (w->second.first_id.empty() || w->second.disturbed) w->second.first_id = c.id;
        EXPECT_EQ(w->second.first_id, c.id) << w->first << " runs another container, although nobody touched it";
      }
    });
  }

  void kill_shim() {
    std::vector<std::pair<std::string, std::string>> sandboxes;  // pod, id
    agent_->for_each([&](const PodWorker& worker) {
      for (const auto& s : worker.observed().sandboxes) {
        if (s.ready) sandboxes.emplace_back(worker.observed().name, s.id);
      }
    });
    if (sandboxes.empty()) return;
    const auto& [pod, id] = sandboxes[static_cast<size_t>(random(static_cast<int>(sandboxes.size())))];
    FILE* pipe = popen(("pgrep -f 'containerd-shim-runc-v2 -namespace k8s.io -id " + id + "'").c_str(), "r");
    int shim = 0;
    const bool found = fscanf(pipe, "%d", &shim) == 1;
    pclose(pipe);
    if (!found || shim <= 0) return;
    if (auto w = wanted_.find(pod); w != wanted_.end()) w->second.disturbed = true;
    kill(shim, SIGKILL);
  }

  void kill_something() {
    switch (random(4)) {
      case 0:
        containerd_->kill9();
        work(milliseconds(random(200)));
        ASSERT_TRUE(containerd_->restart().ok());
        break;
      case 1:
        kill_shim();
        break;
      default:
        stop_agent();
        start_agent();
    }
  }

  bool settled(const std::string& name, const Wanted& w) {
    const auto* worker = agent_->find("default", name);
    if (worker == nullptr || worker->uid() != w.uid) return false;
    if (w.kind != Wanted::Kind::kEnds) return api_.ready("default", name);
    auto phase = api_.phase("default", name);
    return phase == "Succeeded" || phase == "Failed";
  }

  void check_status(const std::string& name, const Wanted& w, std::set<std::string>& tasks) {
    const auto* worker = agent_->find("default", name);
    ASSERT_NE(worker, nullptr);
    size_t running = 0;
    for (const auto& c : worker->observed().containers) {
      if (c.state != ContainerState::kRunning) continue;
      ++running;
      EXPECT_EQ(tasks.erase(c.id), 1u) << c.name << " of " << name << " is said to run";
      EXPECT_NE(status(name).find("containerd://" + c.id), std::string::npos) << status(name);
    }
    for (const auto& s : worker->observed().sandboxes) tasks.erase(s.id);
    switch (w.kind) {
      case Wanted::Kind::kEnds:
        EXPECT_EQ(running, 0u) << name;
        if (!w.disturbed) {
          EXPECT_EQ(api_.phase("default", name), w.exit_code == 0 ? "Succeeded" : "Failed") << status(name);
        }
        break;
      case Wanted::Kind::kStays:
        EXPECT_EQ(running, 1u) << name;
        break;
      case Wanted::Kind::kWhole:
        EXPECT_EQ(running, 2u) << name;
    }
  }

  std::set<std::string> running_tasks() {
    std::set<std::string> out;
    std::istringstream lines(containerd_->ctr("-n k8s.io tasks ls"));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string id, pid, state;
      words >> id >> pid >> state;
      if (state == "RUNNING") out.insert(id);
    }
    return out;
  }

  std::mt19937 random_;
  std::map<std::string, Wanted> wanted_;
  int made_ = 0;
};

TEST_F(CrashTest, NothingIsLostDoubledOrOrphaned) {
  const int kills = from_environment("GANTRY_KILLS", 20), seed = from_environment("GANTRY_SEED", 1);
  RecordProperty("seed", seed);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", seed));
  random_.seed(static_cast<unsigned>(seed));
  for (int i = 0; i < 4; ++i) create();
  for (int i = 0; i < kills; ++i) {
    for (int changes = random(3); changes > 0; --changes) random(3) == 0 || wanted_.size() > 7 ? remove() : create();
    work(milliseconds(random(500)));
    kill_something();
    if (HasFatalFailure()) return;
  }
  for (const auto& [name, w] : wanted_) {
    EXPECT_TRUE(until([&] { return settled(name, w); }, seconds(180))) << name << ": " << status(name);
  }
  EXPECT_TRUE(until([&] { return agent_->size() == wanted_.size(); }, seconds(60))) << "what was deleted goes";
  work(milliseconds(200));
  auto tasks = running_tasks();
  for (const auto& [name, w] : wanted_) check_status(name, w, tasks);
  EXPECT_TRUE(tasks.empty()) << *tasks.begin() << " runs and belongs to nobody";
  fmt::print("kills: {}, seed {}: {} pods made, {} at the end, all as wanted\n", kills, seed, made_, wanted_.size());

  for (const auto& [name, _] : wanted_) api_.remove_pod("default", name);
  EXPECT_TRUE(until([&] { return agent_->size() == 0; }, seconds(60)));
  for (int i = 0; i < 30 && !containerd_->leftovers().empty(); ++i) work(seconds(1));  // shims known to nobody
  std::vector<std::string> held;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(containerd_->directory() + "/ipam", error), end;
       !error && it != end; it.increment(error)) {
    if (it->is_regular_file() && std::isdigit(it->path().filename().string()[0]) != 0)
      held.push_back(it->path().filename());
  }
  EXPECT_TRUE(held.empty()) << held.size() << " addresses are still held, " << held[0] << " among them";
}

}  // namespace
}  // namespace gantry::nodeagent

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "schemas/trace_generated.h"
#include "services/nodeagent/cri/cri_runtime.h"
#include "tools/load/node/node.h"
#include "tools/load/node/runs.h"

namespace gantry::load {

namespace {

using Clock = std::chrono::steady_clock;
using Runtime = nodeagent::Runtime;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Milliseconds by what they are of, in the order of the first of each.
class Samples {
 public:
  void add(const std::string& what, double ms) {
    auto [entry, fresh] = values_.try_emplace(what);
    if (fresh) order_.push_back(what);
    entry->second.push_back(ms);
  }
  double at(const std::string& what, double q) const {
    const auto found = values_.find(what);
    if (found == values_.end()) return 0;
    auto sorted = found->second;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))];
  }
  void print(const std::string& title) const {
    fmt::print("\n| {} | samples | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n", title);
    for (const auto& what : order_) {
      fmt::print("| {} | {} | {:.1f} | {:.1f} | {:.1f} |\n", what, values_.at(what).size(), at(what, 0.5),
                 at(what, 0.99), at(what, 1));
    }
  }

 private:
  std::map<std::string, std::vector<double>> values_;
  std::vector<std::string> order_;
};

class Density {
 public:
  Density(Node& node, const DensityOptions& options) : node_(node), options_(options) {
    traces_ = node.gateway().bus().subscribe(fmt::format("gantry.node.{}.up.trace", Node::kName), "",
                                             [this](const bus::Message& m) { on_trace(std::string(m.data)); });
  }

  Status run() {
    // In turns: the machine is not the same all the time.
    constexpr int kRounds = 4;
    for (int round = 0; round < kRounds; ++round) {
      if (auto done = bare(options_.alone / kRounds); !done) return done;
      if (auto done = alone(options_.alone / kRounds, round); !done) return done;
    }
    bare_.print("bare CRI calls, a pod alone");
    phases_.print("the agent, a pod alone, image present");
    fmt::print("\noverhead over bare CRI at p50: {:.1f} ms\n", phases_.at(kTotal, 0.5) - bare_.at("all", 0.5));
    phases_ = {};
    if (auto done = many(); !done) return done;
    phases_.print(fmt::format("{} pods at once", options_.pods));
    if (auto done = idle(); !done) return done;
    return end();
  }

 private:
  static constexpr char kTotal[] = "created (commit) to Running (commit)";

  void on_trace(const std::string& data) {
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(data.data()), data.size());
    if (!verifier.VerifyBuffer<node::PodTrace>(nullptr)) return;
    const auto* trace = flatbuffers::GetRoot<node::PodTrace>(data.data());
    if (!counting_ || trace->phases() == nullptr) return;
    int64_t covered = trace->seen();
    for (const auto* phase : *trace->phases()) {
      if (phase->end() == 0 || phase->name() == nullptr) continue;
      phases_.add(phase->name()->str(), static_cast<double>(phase->end() - phase->start()) / 1e3);
      covered = std::max(covered, phase->end());
    }
    phases_.add("seen to reported", static_cast<double>(covered - trace->seen()) / 1e3);
    ++traced_;
  }

  template <typename T>
  Result<T> wait(const std::string& what, const std::function<void(Runtime::Done<T>)>& call) {
    std::optional<Result<T>> out;
    const auto start = Clock::now();
    call([&](Result<T> r) { out.emplace(std::move(r)); });
    while (!out) node_.loop().run_once();
    if (!what.empty()) bare_.add(what, ms_since(start));
    return std::move(*out);
  }

  // What a pod takes that nobody looks after.
  Status bare(int pods) {
    node_.kill_agent();
    const auto& directory = node_.containerd().directory();
    auto runtime = nodeagent::make_cri_runtime(node_.loop(), {node_.containerd().socket(), directory + "/exec"});
    for (int i = 0; i < pods; ++i) {
      nodeagent::SandboxConfig sandbox;
      sandbox.name = sandbox.hostname = "bare";
      sandbox.ns = "default";
      sandbox.uid = fmt::format("bare-{}", i);
      sandbox.log_directory = directory + "/bare/" + sandbox.uid;
      sandbox.cgroup_parent = node_.containerd().cgroup();
      nodeagent::ContainerConfig config;
      config.name = "main";
      config.image = "gantry.local/busybox:1";
      config.command = {"sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"};
      config.log_path = "main/0.log";
      std::filesystem::create_directories(sandbox.log_directory + "/main");
      const auto start = Clock::now();
      auto id = wait<std::string>("RunPodSandbox", [&](auto done) { runtime->run_sandbox(sandbox, done); });
      if (!id) return id.error();
      auto image = wait<std::optional<nodeagent::Image>>("ImageStatus",
                                                         [&](auto done) { runtime->find_image(config.image, done); });
      if (!image) return image.error();
      auto container = wait<std::string>("CreateContainer",
                                         [&](auto done) { runtime->create_container(*id, sandbox, config, done); });
      if (!container) return container.error();
      auto started = wait<Done>("StartContainer", [&](auto done) { runtime->start_container(*container, done); });
      if (!started) return started.error();
      bare_.add("all", ms_since(start));
      if (auto s = wait<Done>("", [&](auto done) { runtime->stop_sandbox(*id, done); }); !s) return s.error();
      if (auto s = wait<Done>("", [&](auto done) { runtime->remove_sandbox(*id, done); }); !s) return s.error();
    }
    runtime.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory + "/bare", ignored);
    if (auto done = node_.start_agent(); !done) return done;
    return node_.settle(8);
  }

  Status alone(int pods, int round) {
    for (int i = 0; i <= pods; ++i) {
      counting_ = i > 0;  // the agent has just begun: the first one asks for what the others find
      auto uid = node_.create(fmt::format("alone-{}-{}", round, i), pod_that_stays());
      if (!uid) return uid.error();
      if (auto done = running({*uid}); !done) return done;
      if (auto done = node_.settle(1); !done) return done;  // its trace
      if (auto done = node_.remove(node_.pods().at(*uid).name); !done) return done;
      if (auto done = node_.until("a pod to go", 60, [&] { return node_.present() == 0; }); !done) return done;
    }
    return Done{};
  }

  Status running(const std::vector<std::string>& uids) {
    auto done = node_.until("pods to run", 300, [&] {
      return std::all_of(uids.begin(), uids.end(), [&](const auto& uid) {
        auto pod = node_.pods().find(uid);
        return pod != node_.pods().end() && pod->second.ready;
      });
    });
    if (!done) return done;
    for (const auto& uid : uids) {
      const auto& pod = node_.pods().at(uid);
      if (counting_) phases_.add(kTotal, static_cast<double>(pod.running - pod.created) / 1e3);
    }
    return Done{};
  }

  Status many() {
    traced_ = 0;
    const auto before = node_.usage();
    std::vector<std::string> uids;
    const auto start = Clock::now();
    for (int i = 0; i < options_.pods; ++i) {
      auto uid = node_.create(fmt::format("many-{}", i), pod_that_stays());
      if (!uid) return uid.error();
      uids.push_back(*uid);
    }
    if (auto done = running(uids); !done) return done;
    const auto took = ms_since(start) / 1e3;
    const auto after = node_.usage();
    fmt::print("\n{} pods Ready {:.1f} s after the first was created ({:.1f} a second); the agent took {:.2f} CPU s\n",
               options_.pods, took, options_.pods / took, after.cpu_seconds - before.cpu_seconds);
    return node_.until("traces", 30, [&] { return traced_ >= static_cast<size_t>(options_.pods); });
  }

  Status idle() {
    if (auto done = node_.settle(20); !done) return done;
    const auto before = node_.usage();
    if (auto done = node_.settle(options_.idle_seconds); !done) return done;
    const auto after = node_.usage();
    fmt::print(
        "\nidle with {} pods, {} s: {:.2f} CPU s ({:.2f}% of one), {:.1f} MB resident, {:.1f} MB of them anonymous\n",
        options_.pods, options_.idle_seconds, after.cpu_seconds - before.cpu_seconds,
        (after.cpu_seconds - before.cpu_seconds) / options_.idle_seconds * 100, after.rss_mb, after.private_mb);
    const auto seconds = std::to_string(options_.idle_seconds);
    const auto pid = std::to_string(node_.agent());
    // Its own: this one is idle meanwhile. Interrupted, strace prints its table.
    auto counted =
        dev::run({"sh", "-c", "timeout -s INT " + seconds + " strace -f -c -S calls -p " + pid + " 2>&1 || true"},
                 {.timeout_seconds = options_.idle_seconds + 30});
    if (!counted) return counted.error();
    fmt::print("\n`strace -f -c`, {} s:\n\n{}\n", seconds, *counted);
    return Done{};
  }

  Status end() {
    const auto before = node_.usage();
    const auto start = Clock::now();
    for (const auto& [_, pod] : std::map(node_.pods())) {
      if (pod.deleted != 0) continue;
      if (auto done = node_.remove(pod.name); !done) return done;
    }
    if (auto done = node_.until("pods to go", 300, [&] { return node_.present() == 0; }); !done) return done;
    const auto took = ms_since(start) / 1e3;
    fmt::print("{} pods deleted and gone {:.1f} s later ({:.1f} a second); the agent took {:.2f} CPU s\n",
               options_.pods, took, options_.pods / took, node_.usage().cpu_seconds - before.cpu_seconds);
    return Done{};
  }

  Node& node_;
  const DensityOptions& options_;
  std::unique_ptr<bus::Subscription> traces_;
  Samples bare_, phases_;
  size_t traced_ = 0;
  bool counting_ = true;
};

}  // namespace

Status run_density(const DensityOptions& options) {
  auto node = Node::start(options.cluster);
  if (!node) return node.error();
  return Density(**node, options).run();
}

}  // namespace gantry::load

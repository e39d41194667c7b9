#include "services/nodeagent/node/housekeeper.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <filesystem>
#include <fstream>

#include "services/nodeagent/node/usage_reporter.h"
#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;
using model::str;

namespace {

constexpr int64_t kAtOnce = 1;                // seconds that a pod gets when there is no time
constexpr int64_t kCritical = 2'000'000'000;  // the priority of what the system cannot do without
constexpr WallMicros kReclaimPause = 30'000'000;
constexpr WallMicros kLongestEnd = 30'000'000;  // of a pod that had to go, before another is chosen
constexpr char kStorage[] = "ephemeral-storage";

void add_disk(const std::string& path, const char* prefix, Signals& out) {
  struct statvfs info {};
  if (path.empty() || statvfs(path.c_str(), &info) != 0) return;
  const auto size = static_cast<int64_t>(info.f_frsize);
  out[fmt::format("{}.available", prefix)] = {static_cast<int64_t>(info.f_bavail) * size,
                                              static_cast<int64_t>(info.f_blocks) * size};
  if (info.f_files > 0)
    out[fmt::format("{}.inodesFree", prefix)] = {static_cast<int64_t>(info.f_favail),
                                                 static_cast<int64_t>(info.f_files)};
}

void add_processes(const std::optional<Cgroups::Processes>& pods, Signals& out) {
  int64_t most = 0, all = 0;
  std::ifstream limit("/proc/sys/kernel/pid_max"), load("/proc/loadavg");
  std::string word;
  for (int i = 0; i < 4; ++i) load >> word;  // 0.1 0.2 0.3 1/234
  const auto slash = word.find('/');
  if (!(limit >> most) || slash == std::string::npos) return;
  all = std::strtoll(word.c_str() + slash + 1, nullptr, 10);
  Signal left{std::max<int64_t>(0, most - all), most};
  // Pods may have fewer than the machine.
  if (pods && pods->most - pods->now < left.available)
    left = {std::max<int64_t>(0, pods->most - pods->now), pods->most};
  out["pid.available"] = left;
}

// Bytes that a tree takes on its disk; hard links count once too often, as with every quota by directory.
int64_t bytes_below(const std::string& path) {
  int64_t total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(path, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored) && !it->is_symlink(ignored)) {
      const auto size = it->file_size(ignored);
      if (!ignored) total += static_cast<int64_t>(size);
    }
  }
  return total;
}

// The emptyDirs of a pod that lie on the disk, with their limits.
struct Scratch {
  std::string name, path;
  std::optional<model::Quantity> limit;
};
std::vector<Scratch> scratch(const core::Pod& pod, const Paths& paths) {
  std::vector<Scratch> out;
  if (pod.spec()->volumes() == nullptr) return out;
  for (const auto* v : *pod.spec()->volumes()) {
    if (v->empty_dir() == nullptr || !str(v->empty_dir()->medium()).empty()) continue;
    Scratch s{std::string(str(v->name())), paths.volume(str(pod.metadata()->uid()), str(v->name())), std::nullopt};
    if (auto limit = model::Quantity::parse(str(v->empty_dir()->size_limit()));
        limit.ok() && !str(v->empty_dir()->size_limit()).empty())
      s.limit = *limit;
    out.push_back(std::move(s));
  }
  return out;
}

bool has_storage_limit(const core::Pod& pod, const Paths& paths) {
  for (const auto* list : {pod.spec()->containers(), pod.spec()->init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list) {
      if (c->resources() && amount(amounts(c->resources()->limits()), kStorage)) return true;
    }
  }
  const auto all = scratch(pod, paths);
  return std::any_of(all.begin(), all.end(), [](const Scratch& s) { return s.limit.has_value(); });
}

bool is_critical(const core::Pod& pod) {
  return pod.spec()->priority().value_or(0) >= kCritical ||
         (pod.metadata()->annotations() != nullptr &&
          model::lookup(pod.metadata()->annotations(), kConfigSource) != nullptr);  // static
}

bool ended(const PodWorker& worker) {
  const auto& phase = worker.status().phase;
  return phase == "Succeeded" || phase == "Failed";
}

}  // namespace

Signals read_signals(const HousekeeperOptions& options, const Cgroups& cgroups, const std::string& parent,
                     const std::string& root, const std::string& images) {
  Signals out;
  if (options.part_of_machine) {
    // Without a cgroup of their own what pods use is not known.
    if (const auto used = parent.empty() ? std::nullopt : cgroups.working_set(parent)) {
      out["memory.available"] = {std::max<int64_t>(0, options.memory_capacity - static_cast<int64_t>(*used)),
                                 options.memory_capacity};
    }
  } else {
    const auto used = static_cast<int64_t>(machine_usage().memory_working_set);
    out["memory.available"] = {std::max<int64_t>(0, options.memory_capacity - used), options.memory_capacity};
  }
  add_disk(root, "nodefs", out);
  add_disk(images, "imagefs", out);
  add_processes(parent.empty() ? std::nullopt : cgroups.processes(parent), out);
  return out;
}

Housekeeper::Housekeeper(Loop& loop, Executor& executor, Runtime& runtime, Agent& agent, HousekeeperOptions options,
                         Callbacks callbacks)
    : loop_(loop),
      executor_(executor),
      runtime_(runtime),
      agent_(agent),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)) {
  look_ = loop_.every(options_.period, [this] { look(); });
  images_ = loop_.every(options_.image_period, [this] { list_images(0); });
  first_images_ = loop_.after(options_.period / 2, [this] { list_images(0); });
  gc_ = loop_.every(options_.images.period, [this] { collect_images(); });
}

// Best-effort pods get what is left, burstable ones together what they asked for.
void Housekeeper::share_processors() {
  const auto& node = agent_.node();
  if (!node.pod_cgroups || node.cgroup_parent.empty()) return;
  int64_t asked = 0;
  agent_.for_each([&](const PodWorker& worker) {
    if (!worker.pod() || ended(worker)) return;
    const auto& spec = *worker.pod().as<core::Pod>()->spec();
    if (pod_qos(spec) == Qos::kBurstable) asked += amount(pod_resources(spec).requests, "cpu").value_or(0);
  });
  const auto shares = cpu_shares(asked);
  if (shares == burstable_shares_) return;
  burstable_shares_ = shares;
  executor_.run(
      [shares, parent = node.cgroup_parent] {
        for (const auto& [name, value] : {std::pair("/burstable", shares), std::pair("/besteffort", cpu_shares(0))}) {
          auto set = Cgroups().set_shares(parent + name, value);
          if (!set.ok()) LOG(WARNING) << set.error().message;
        }
      },
      [] {});
}

void Housekeeper::look() {
  if (!agent_.synced()) return;
  share_processors();
  if (std::exchange(looking_, true)) return;
  counted_victim_ = victim_is_going();
  if (callbacks_.signals) return on_signals(callbacks_.signals());
  auto signals = std::make_shared<Signals>();
  executor_.run([signals, options = options_, parent = agent_.node().cgroup_parent, root = agent_.node().paths.root,
                 images = images_at_] { *signals = read_signals(options, Cgroups(), parent, root, images); },
                guard([this, signals] { on_signals(*signals); }));
}

void Housekeeper::on_signals(const Signals& signals) {
  const auto first = decide_eviction(options_.eviction, signals, {}, loop_.wall(), memory_);
  tell_pressure(first);
  bool limits = false;
  agent_.for_each([&](const PodWorker& worker) {
    limits = limits ||
             (worker.pod() && !ended(worker) && has_storage_limit(*worker.pod().as<core::Pod>(), agent_.node().paths));
  });
  if (first.starved.empty() && !limits) {
    looking_ = false;
    return;
  }
  // Images that nobody uses go before pods do.
  if (first.reclaim_disk && loop_.wall() - reclaimed_at_ > kReclaimPause) {
    reclaimed_at_ = loop_.wall();
    list_images(UINT64_MAX);
    looking_ = false;
    return;
  }
  runtime_.usage(guard([this, signals](Result<std::vector<Runtime::ContainerUsage>> usage) {
    if (!usage.ok()) {
      looking_ = false;
      return;
    }
    // Who has how many processes is only asked when they run out.
    if (signals.count("pid.available") == 0 || !pressure_[2]) return weigh(signals, *usage, {});
    runtime_.pod_usage(guard([this, signals, usage = std::move(*usage)](Result<std::vector<Runtime::PodUsage>> pods) {
      weigh(signals, usage, pods.ok() ? *pods : std::vector<Runtime::PodUsage>());
    }));
  }));
}

// What each pod uses, and what it asked for. The disk is looked at elsewhere.
void Housekeeper::weigh(const Signals& signals, const std::vector<Runtime::ContainerUsage>& usage,
                        const std::vector<Runtime::PodUsage>& pods) {
  struct Work {
    std::vector<PodUse> pods;
    std::vector<std::vector<Scratch>> volumes;  // of each
    std::vector<std::string> logs;
    std::map<std::string, int64_t> sizes;  // <uid>/<volume> -> bytes
  };
  auto work = std::make_shared<Work>();
  agent_.for_each([&](const PodWorker& worker) {
    if (!worker.pod() || ended(worker)) return;
    const auto& pod = *worker.pod().as<core::Pod>();
    PodUse use;
    use.uid = worker.uid();
    use.priority = pod.spec()->priority().value_or(0);
    use.critical = is_critical(pod);
    const auto asked = pod_resources(*pod.spec()).requests;
    use.memory_request = amount(asked, "memory").value_or(0);
    use.disk_request = amount(asked, kStorage).value_or(0);
    for (const auto& p : pods) {
      if (p.uid == use.uid) use.processes = static_cast<int64_t>(p.processes);
    }
    for (const auto& c : usage) {
      if (c.pod_uid != use.uid) continue;
      PodUse::Container container{c.name, static_cast<int64_t>(c.memory_working_set), 0,
                                  static_cast<int64_t>(c.fs_used), 0};
      if (const auto* spec = find_container(*pod.spec(), c.name); spec != nullptr && spec->resources() != nullptr) {
        const auto own = amounts(spec->resources()->requests());
        container.memory_request = amount(own, "memory").value_or(0);
        container.disk_request = amount(own, kStorage).value_or(0);
      }
      use.memory += container.memory;
      use.disk += container.disk;
      use.containers.push_back(std::move(container));
    }
    work->volumes.push_back(scratch(pod, agent_.node().paths));
    work->logs.push_back(agent_.node().paths.logs(worker.pod().ns(), worker.pod().name(), use.uid));
    work->pods.push_back(std::move(use));
  });
  executor_.run(
      [work] {
        for (size_t i = 0; i < work->pods.size(); ++i) {
          auto& pod = work->pods[i];
          for (auto& c : pod.containers) {
            const auto logs = bytes_below(work->logs[i] + "/" + c.name);
            c.disk += logs;
            pod.disk += logs;
          }
          for (const auto& volume : work->volumes[i]) {
            const auto size = bytes_below(volume.path);
            work->sizes[pod.uid + "/" + volume.name] = size;
            pod.disk += size;
          }
        }
      },
      guard([this, signals, work] {
        check_limits(work->pods, work->sizes);
        conclude(signals, std::move(work->pods));
      }));
}

bool Housekeeper::victim_is_going() const {
  bool going = false;
  agent_.for_each([&](const PodWorker& worker) { going |= worker.uid() == evicting_ && !worker.reclaimed(); });
  return going;
}

void Housekeeper::conclude(const Signals& signals, std::vector<PodUse> pods) {
  looking_ = false;
  const auto decision = decide_eviction(options_.eviction, signals, std::move(pods), loop_.wall(), memory_);
  // What the last one leaves behind is seen by a look that begins once it has ended.
  if ((counted_victim_ || victim_is_going()) && loop_.wall() - evicted_at_ < kLongestEnd) return;
  evicted_at_ = loop_.wall();
  evicting_ = decision.victim ? decision.victim->uid : std::string();
  if (decision.victim) evict(decision.victim->uid, decision.victim->message, decision.victim->grace_seconds);
}

void Housekeeper::check_limits(const std::vector<PodUse>& pods, const std::map<std::string, int64_t>& volumes) {
  std::vector<std::pair<std::string, std::string>> over;  // uid, why
  const auto check = [&](const core::Pod& pod, const PodUse& use) -> std::string {
    for (const auto& volume : scratch(pod, agent_.node().paths)) {
      const auto size = volumes.find(use.uid + "/" + volume.name);
      if (volume.limit && size != volumes.end() && size->second > volume.limit->value()) {
        return fmt::format("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", volume.name,
                           volume.limit->to_string());
      }
    }
    for (const auto& c : use.containers) {
      const auto* spec = find_container(*pod.spec(), c.name);
      if (spec == nullptr || spec->resources() == nullptr) continue;
      const auto limits = amounts(spec->resources()->limits());
      const auto limit = limits.find(std::string_view(kStorage));
      if (limit != limits.end() && c.disk > limit->second.value()) {
        return fmt::format("Container {} exceeded its local ephemeral storage limit \"{}\". ", c.name,
                           limit->second.to_string());
      }
    }
    const auto limits = pod_resources(*pod.spec()).limits;
    const auto limit = limits.find(std::string_view(kStorage));
    if (limit != limits.end() && use.disk > limit->second.value()) {
      return fmt::format("Pod ephemeral local storage usage exceeds the total limit of containers {}. ",
                         limit->second.to_string());
    }
    return "";
  };
  agent_.for_each([&](const PodWorker& worker) {
    const auto use = std::find_if(pods.begin(), pods.end(), [&](const PodUse& p) { return p.uid == worker.uid(); });
    if (use == pods.end() || !worker.pod()) return;
    if (auto why = check(*worker.pod().as<core::Pod>(), *use); !why.empty()) over.emplace_back(worker.uid(), why);
  });
  for (const auto& [uid, why] : over) evict(uid, why, kAtOnce);
}

void Housekeeper::evict(const std::string& uid, const std::string& message, int64_t grace_seconds) {
  model::Object pod;
  agent_.for_each([&](const PodWorker& worker) {
    if (worker.uid() == uid) pod = worker.pod();
  });
  LOG(WARNING) << "pod=" << pod.ns() << "/" << pod.name() << " evicted: " << message;
  ++counters_.evicted;
  if (callbacks_.record) callbacks_.record(pod, "Evicted", message);
  agent_.terminate(uid, {"Evicted", message, std::max(kAtOnce, grace_seconds), true});
}

void Housekeeper::tell_pressure(const EvictionDecision& decision) {
  const std::array<bool, 3> now{decision.memory_pressure, decision.disk_pressure, decision.pid_pressure};
  if (now == pressure_) return;
  pressure_ = now;
  if (callbacks_.pressure) callbacks_.pressure(now[0], now[1], now[2]);
}

void Housekeeper::collect_images() {
  if (images_at_.empty()) return;
  struct statvfs info {};
  if (statvfs(images_at_.c_str(), &info) != 0) return;
  const auto size = static_cast<uint64_t>(info.f_frsize);
  const auto bytes = bytes_to_free(info.f_blocks * size, info.f_bavail * size, options_.images);
  if (bytes > 0) list_images(bytes);
}

// Tells what there is, and removes as much as is asked for.
void Housekeeper::list_images(uint64_t free_bytes) {
  if (!agent_.synced() || std::exchange(collecting_, true)) return;
  if (images_at_.empty()) {
    runtime_.image_filesystem(guard([this](Result<FsUsage> usage) {
      if (usage.ok()) images_at_ = usage->mountpoint;
    }));
  }
  runtime_.list_images(guard([this, free_bytes](Result<std::vector<Image>> images) {
    collecting_ = false;
    if (!images.ok()) return;
    std::set<std::string> used;
    agent_.for_each([&](const PodWorker& worker) {
      for (const auto& c : worker.observed().containers) {
        used.insert(c.image);
        used.insert(c.image_ref);
      }
      const auto* volumes = worker.pod() ? worker.pod().as<core::Pod>()->spec()->volumes() : nullptr;
      if (volumes == nullptr || ended(worker)) return;
      for (const auto* v : *volumes) {
        if (v->image() != nullptr) used.insert(std::string(str(v->image()->reference())));
      }
    });
    ages_.see(*images, used, loop_.wall());
    std::vector<std::string> names;
    for (const auto& image : *images) names.push_back(image.id);
    std::sort(names.begin(), names.end());
    if (names != told_images_) {
      told_images_ = std::move(names);
      if (callbacks_.images) callbacks_.images(*images);
    }
    if (free_bytes == 0) return;
    for (const auto& id : ages_.unused(*images, free_bytes, options_.images.minimum_age, loop_.wall())) {
      LOG(INFO) << "image=" << id << " is unused, and the disk is full: removed";
      ++counters_.images_removed;
      runtime_.remove_image(id, [](const Status& removed) {
        if (!removed.ok()) LOG(WARNING) << "removing an image: " << removed.error().message;
      });
    }
  }));
}

}  // namespace gantry::nodeagent

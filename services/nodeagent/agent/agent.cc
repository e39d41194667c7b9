#include "services/nodeagent/agent/agent.h"

#include <filesystem>

#include "libs/base/ids.h"
#include "services/nodeagent/agent/static_pods.h"
#include "services/nodeagent/resource/cgroups.h"

namespace gantry::nodeagent {

namespace {
constexpr Duration kListRetry = std::chrono::seconds(1);
constexpr Duration kSweepRetry = std::chrono::seconds(10);
}  // namespace

Agent::Agent(Loop& loop, bus::Commands& commands, Runtime& runtime, Executor& executor, ProbeTransport& probes,
             projection::Cache& pods, Sequence& sequence, AgentOptions options)
    : loop_(loop),
      runtime_(runtime),
      pods_(pods),
      options_(std::move(options)),
      statuses_(loop, commands, sequence),
      references_(loop, commands,
                  [this](const std::string& resource, const std::string& ns, const std::string& name) {
                    for (auto& [_, w] : workers_) w->reference_changed(resource, ns, name);
                  }),
      services_(commands),
      images_(loop, runtime, options_.parallel_pulls),
      image_volumes_(runtime, options_.node.paths,
                     [&executor](std::function<void()> work, std::function<void()> done) {
                       executor.run(std::move(work), std::move(done));
                     }),
      context_{loop,
               runtime,
               commands,
               executor,
               probes,
               statuses_,
               references_,
               services_,
               images_,
               options_.node,
               nullptr,
               [this](const std::string& uid) {
                 workers_.erase(uid);
                 apply_static();
                 references_.trim([this](const std::string& resource, const std::string& ns, const std::string& name) {
                   return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
                     return entry.second->pod() && entry.second->pod().ns() == ns &&
                            entry.second->refers_to(resource, name);
                   });
                 });
               },
               options_.disk},
      mirrors_(loop, commands, pods, [this](const std::string& uid, const model::Object& mirror) {
        if (auto found = workers_.find(uid); found != workers_.end()) found->second->set_mirror(mirror);
      }) {
  options_.node.hollow = !options_.disk;
  if (options_.disk) context_.image_volumes = &image_volumes_;
  options_.node.services = [this](std::string_view ns, const auto& visit) { services_.for_each(ns, visit); };
}

Agent::~Agent() = default;

void Agent::start(bus::Bus* bus) {
  std::weak_ptr<bool> weak = alive_;
  pods_.on_change([this, weak](const projection::Change& change) {
    if (!weak.expired()) on_pod_change(change);
  });
  pods_.on_synced([this, weak] {
    if (!weak.expired()) maybe_begin();
  });
  if (options_.dependencies && bus != nullptr) references_.listen(*bus, options_.node.node);
  if (options_.disk && bus != nullptr) {
    context_.traced = [bus, subject = fmt::format("gantry.node.{}.up.trace", encode_token(options_.node.node))](
                          const std::string& trace) {
      // Lost when the bus is away: whoever asks for the trace of the pod still gets it.
      (void)bus->publish(subject, trace);
    };
  }
  Runtime::Events events;
  events.connected = [this] { on_connected(); };
  events.disconnected = [this](const std::string& why) {
    LOG(WARNING) << "node=" << options_.node.node << " the runtime is away: " << why;
    if (runtime_changed_) runtime_changed_(false, why);
  };
  events.changed = [this](const std::string& uid) {
    if (uid.empty()) return on_connected();
    if (auto found = workers_.find(uid); found != workers_.end()) found->second->observe();
  };
  events.oom = [](const std::string&) {};
  runtime_.start(std::move(events));
  relist_ = loop_.every(options_.relist, [this] { on_connected(); });
}

void Agent::on_connected() {
  if (listing_) return;
  listing_ = true;
  runtime_.list([this, weak = std::weak_ptr<bool>(alive_)](Result<std::vector<RuntimePod>> pods) {
    if (!weak.expired()) on_listed(std::move(pods));
  });
}

void Agent::on_listed(Result<std::vector<RuntimePod>> pods) {
  listing_ = false;
  if (!pods.ok()) {
    LOG_EVERY_N(WARNING, 20) << "node=" << options_.node.node << " listing containers: " << pods.error().message;
    retry_ = loop_.after(kListRetry, [this] { on_connected(); });
    return;
  }
  if (runtime_changed_) runtime_changed_(true, "");
  std::map<std::string, RuntimePod> found;
  for (auto& pod : *pods) {
    if (!pod.uid.empty()) found.emplace(pod.uid, std::move(pod));
  }
  if (!synced_) {
    found_ = std::move(found);
    listed_ = true;
    return maybe_begin();
  }
  for (auto& [uid, w] : workers_) w->observe();
  for (auto& [uid, pod] : found) {
    if (workers_.count(uid) == 0) worker(uid, std::move(pod));
  }
}

void Agent::maybe_begin() {
  if (synced_ || !listed_ || !static_known_ || !pods_.synced()) return;
  synced_ = true;
  apply_static();
  mirrors_.reconcile();
  size_t wanted = 0, adopted = 0;
  pods_.for_each([&](const model::Object& pod) {
    ++wanted;
    adopted += found_.count(std::string(pod.uid()));
    apply(pod);
  });
  LOG(INFO) << "node=" << options_.node.node << " pods wanted=" << wanted << " adopted=" << adopted
            << " orphans=" << found_.size();
  // What is left is wanted by nobody.
  for (auto& [uid, pod] : found_) worker(uid, std::move(pod));
  found_.clear();
  if (options_.disk) sweep();
}

// Directories and cgroups of pods that nobody wants and that do not run: the agent died while it removed them. What is
// there is looked for first, and whose it is afterwards: a pod that begins meanwhile has its worker by then.
void Agent::sweep() {
  struct Found {
    std::vector<std::string> pods, cgroups;  // uids
    std::vector<std::filesystem::path> logs;
  };
  auto found = std::make_shared<Found>();
  const auto parent = options_.node.pod_cgroups ? options_.node.cgroup_parent : std::string();
  context_.executor.run(
      [found, parent, paths = options_.node.paths] {
        found->cgroups = pods_with_cgroups(parent);
        std::error_code error;
        for (std::filesystem::directory_iterator it(paths.root + "/pods", error), end; !error && it != end;
             it.increment(error))
          found->pods.push_back(it->path().filename().string());
        for (std::filesystem::directory_iterator it(paths.root + "/logs/pods", error), end; !error && it != end;
             it.increment(error))
          found->logs.push_back(it->path());
      },
      [this, found, parent, weak = std::weak_ptr<bool>(alive_)] {
        if (weak.expired()) return;
        const auto wanted = [this](const std::string& uid) { return workers_.count(uid) != 0; };
        std::erase_if(found->pods, wanted);
        std::erase_if(found->cgroups, wanted);
        std::erase_if(found->logs, [&](const auto& path) {
          const auto name = path.filename().string();
          return wanted(name.substr(name.rfind('_') + 1));
        });
        context_.executor.run(
            [found, parent] {
              for (const auto& uid : found->cgroups) remove_pod_cgroup(parent, uid);
              std::error_code ignored;
              for (const auto& path : found->logs) std::filesystem::remove_all(path, ignored);
            },
            [] {});
        for (const auto& uid : found->pods) sweep_pod(uid);
        if (found->pods.empty() && context_.csi != nullptr) context_.csi->tidy();
      });
}

void Agent::sweep_pod(const std::string& uid) {
  if (workers_.count(uid) != 0) return;
  auto remove = [this, uid](const Status& unmounted) {
    if (!unmounted.ok()) {  // its driver is not there yet
      LOG(WARNING) << "pod uid=" << uid << " left by an earlier run: " << unmounted.error().message;
      sweep_again_ = loop_.after(kSweepRetry, [this] { sweep(); });
      return;
    }
    context_.executor.run(
        [uid, paths = options_.node.paths] {
          auto removed = remove_pod_directory(paths, uid);
          if (!removed.ok()) LOG(WARNING) << removed.error().message;
        },
        [this, weak = std::weak_ptr<bool>(alive_)] {
          if (!weak.expired() && context_.csi != nullptr) context_.csi->tidy();
        });
  };
  auto images = [this, uid, remove, weak = std::weak_ptr<bool>(alive_)](const Status& unmounted) {
    if (weak.expired()) return;
    if (!unmounted.ok()) return remove(unmounted);
    image_volumes_.unmount(uid, [remove, weak](const Status& s) {
      if (!weak.expired()) remove(s);
    });
  };
  if (context_.csi == nullptr) return images(Done{});
  context_.csi->unmount(uid, images);
}

void Agent::on_driver() {
  for (auto& [_, w] : workers_) w->retry_volumes();
  if (synced_ && options_.disk) sweep();
}

void Agent::on_pod_change(const projection::Change& change) {
  if (!synced_) return;
  if (change.before && (!change.after || change.after.uid() != change.before.uid())) apply_gone(change.before);
  if (change.after) apply(change.after);
  if (is_mirror(change.after ? change.after : change.before)) mirrors_.reconcile();
}

void Agent::set_static_pods(std::vector<model::Object> pods) {
  std::map<std::string, model::Object> now;
  for (auto& pod : pods) now.emplace(std::string(pod.uid()), std::move(pod));
  for (const auto& [uid, _] : static_) {
    if (now.count(uid) != 0) continue;
    mirrors_.unwant(uid);
    if (auto found = workers_.find(uid); found != workers_.end()) found->second->set_gone();
  }
  static_ = std::move(now);
  static_known_ = true;
  if (synced_) {
    apply_static();
  } else {
    maybe_begin();
  }
}

// A changed manifest is another pod of the same name: it begins when the one before has ended.
void Agent::apply_static() {
  if (!synced_) return;
  for (const auto& [uid, pod] : static_) {
    if (workers_.count(uid) != 0 && workers_[uid]->pod()) continue;
    bool taken = false;
    for (const auto& [other, w] : workers_)
      taken |= other != uid && w->observed().ns == pod.ns() && w->observed().name == pod.name();
    for (const auto& [other, runs] : found_) taken |= other != uid && runs.ns == pod.ns() && runs.name == pod.name();
    if (taken) continue;
    apply(pod);
    mirrors_.want(pod);
  }
}

void Agent::apply(const model::Object& pod) {
  if (is_mirror(pod)) return;  // what it mirrors runs by itself
  auto uid = std::string(pod.uid());
  RuntimePod observed;
  if (auto found = found_.find(uid); found != found_.end()) {
    observed = std::move(found->second);
    found_.erase(found);
  }
  const bool begun = !observed.sandboxes.empty() || !observed.containers.empty() || workers_.count(uid) != 0;
  auto& w = worker(uid, std::move(observed));
  w.set_pod(pod);
  if (begun) return;
  if (refusing_) return w.terminate(*refusing_);
  if (!admit_) return;
  const auto* p = pod.as<core::Pod>();
  const auto phase = p->status() ? model::str(p->status()->phase()) : std::string_view();
  // What has started once is not asked again.
  if ((!phase.empty() && phase != "Pending") || p->metadata()->deletion_timestamp().has_value()) return;
  if (p->status() && p->status()->start_time().has_value()) return;
  if (auto no = admit_(pod)) {
    if (context_.record) context_.record(pod, true, no->reason, no->message);
    w.terminate(std::move(*no));
  }
}

void Agent::apply_gone(const model::Object& pod) {
  if (auto found = workers_.find(std::string(pod.uid())); found != workers_.end()) found->second->set_gone();
}

PodWorker& Agent::worker(const std::string& uid, RuntimePod observed) {
  auto& w = workers_[uid];
  if (!w) w = std::make_unique<PodWorker>(context_, uid, std::move(observed));
  return *w;
}

const PodWorker* Agent::find(std::string_view ns, std::string_view name) const {
  if (const auto* pod = pods_.find(ns, name)) {
    auto found = workers_.find(std::string(pod->uid()));
    if (found != workers_.end()) return found->second.get();
  }
  for (const auto& [_, w] : workers_) {
    if (w->observed().ns == ns && w->observed().name == name) return w.get();
  }
  return nullptr;
}

}  // namespace gantry::nodeagent

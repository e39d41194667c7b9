#include "services/nodeagent/cri/observer.h"

#include <set>

#include "services/nodeagent/cri/convert.h"

namespace gantry::nodeagent {

namespace v1 = runtime::v1;
using RuntimeStub = v1::RuntimeService::Stub;

namespace {
constexpr Duration kQuick = std::chrono::seconds(20);
constexpr int kRechecks = 12;
constexpr Duration kFirstRecheck = std::chrono::milliseconds(10);
}  // namespace

void Observer::exited(const std::string& container_id) {
  auto pod = pod_of_.find(container_id);
  if (pod == pod_of_.end()) return changed_("");
  expected_exits_[container_id] = kRechecks;
  changed_(pod->second);
}

void Observer::recheck(const std::string& uid) {
  int left = kRechecks;
  for (const auto& [id, n] : expected_exits_) {
    auto pod = pod_of_.find(id);
    if (pod != pod_of_.end() && pod->second == uid) left = std::min(left, n);
  }
  auto delay = kFirstRecheck * (1 << std::min(kRechecks - left, 8));
  rechecks_[uid] = loop_.after(delay, [this, uid] { changed_(uid); });
}

void Observer::observe(const std::string& pod_uid, Done<RuntimePod> done) {
  gather(pod_uid, [pod_uid, done = std::move(done)](Result<std::vector<RuntimePod>> pods) {
    if (!pods.ok()) return done(pods.error());
    for (auto& pod : *pods) {
      if (pod.uid == pod_uid) return done(std::move(pod));
    }
    RuntimePod nothing;
    nothing.uid = pod_uid;
    done(std::move(nothing));
  });
}

void Observer::gather(const std::string& uid, Done<std::vector<RuntimePod>> done) {
  auto g = std::make_shared<Gather>();
  g->done = std::move(done);
  g->all = uid.empty();
  g->waiting = 2;
  v1::ListPodSandboxRequest sandboxes;
  v1::ListContainersRequest containers;
  if (!uid.empty()) {
    (*sandboxes.mutable_filter()->mutable_label_selector())[kPodUidLabel] = uid;
    (*containers.mutable_filter()->mutable_label_selector())[kPodUidLabel] = uid;
  }
  calls_.call(stub_.async(), &RuntimeStub::async::ListPodSandbox, std::move(sandboxes), kQuick,
              [this, g](Result<v1::ListPodSandboxResponse> r) {
                r.ok() ? add_sandboxes(g, *r) : static_cast<void>(g->error = r.error());
                gathered(g);
              });
  calls_.call(stub_.async(), &RuntimeStub::async::ListContainers, std::move(containers), kQuick,
              [this, g](Result<v1::ListContainersResponse> r) {
                r.ok() ? add_containers(g, *r) : static_cast<void>(g->error = r.error());
                gathered(g);
              });
}

void Observer::add_sandboxes(const std::shared_ptr<Gather>& g, const v1::ListPodSandboxResponse& response) {
  for (const auto& item : response.items()) {
    auto sandbox = cri::from_proto(item);
    auto& pod = g->pods[sandbox.uid];
    pod.uid = sandbox.uid;
    pod.ns = sandbox.ns;
    pod.name = sandbox.name;
    pod_of_[sandbox.id] = sandbox.uid;
    if (auto known = ips_.find(sandbox.id); known != ips_.end()) {
      sandbox.ips = known->second;
      pod.sandboxes.push_back(std::move(sandbox));
      continue;
    }
    v1::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(sandbox.id);
    ++g->waiting;
    calls_.call(stub_.async(), &RuntimeStub::async::PodSandboxStatus, std::move(request), kQuick,
                [this, g, sandbox](Result<v1::PodSandboxStatusResponse> r) mutable {
                  if (r.ok()) {
                    const auto& network = r->status().network();
                    if (!network.ip().empty()) sandbox.ips.push_back(network.ip());
                    for (const auto& ip : network.additional_ips()) sandbox.ips.push_back(ip.ip());
                    sandbox.ready = r->status().state() == v1::SANDBOX_READY;
                    if (sandbox.ready) ips_[sandbox.id] = sandbox.ips;
                  }
                  // Gone meanwhile: not part of the pod any more.
                  if (!r.ok() && r.code() != Code::kNotFound) g->error = r.error();
                  if (!r.ok()) return gathered(g);
                  const auto id = sandbox.id, uid = sandbox.uid;
                  const bool ready = sandbox.ready;
                  g->pods[uid].sandboxes.push_back(std::move(sandbox));
                  if (ready) return gathered(g);
                  check_task(g, id, uid, [this, g](bool) { gathered(g); });
                });
  }
}

void Observer::add_containers(const std::shared_ptr<Gather>& g, const v1::ListContainersResponse& response) {
  for (const auto& item : response.containers()) {
    auto container = cri::from_proto(item);
    auto label = container.labels.find(kPodUidLabel);
    if (label == container.labels.end()) continue;
    auto uid = label->second;
    pod_of_[container.id] = uid;
    auto& pod = g->pods[uid];
    pod.uid = uid;
    pod.ns = container.labels[kPodNamespaceLabel];
    pod.name = container.labels[kPodNameLabel];
    if (auto known = settled_.find(container.id); known != settled_.end() && known->second.state == container.state) {
      pod.containers.push_back(known->second);
      continue;
    }
    ++g->waiting;
    if (container.state != ContainerState::kExited) {
      add_details(g, uid, std::move(container));
      continue;
    }
    const auto id = container.id;
    check_task(g, id, uid, [this, g, uid, container = std::move(container)](bool there) mutable {
      if (!there) return add_details(g, uid, std::move(container));
      container.state = ContainerState::kUnknown;
      g->pods[uid].containers.push_back(std::move(container));
      gathered(g);
    });
  }
}

void Observer::add_details(const std::shared_ptr<Gather>& g, const std::string& uid, Container container) {
  v1::ContainerStatusRequest request;
  request.set_container_id(container.id);
  calls_.call(stub_.async(), &RuntimeStub::async::ContainerStatus, std::move(request), kQuick,
              [this, g, uid, container = std::move(container)](Result<v1::ContainerStatusResponse> r) mutable {
                if (!r.ok() && r.code() != Code::kNotFound) g->error = r.error();
                if (!r.ok()) return gathered(g);
                const bool was_over = container.state == ContainerState::kExited;
                cri::merge_status(r->status(), container);
                const auto add = [this, g, uid](Container c) {
                  if (c.state == ContainerState::kRunning || c.state == ContainerState::kExited) settled_[c.id] = c;
                  g->pods[uid].containers.push_back(std::move(c));
                  gathered(g);
                };
                if (was_over || container.state != ContainerState::kExited) return add(std::move(container));
                // It ended between the listing and now.
                const auto id = container.id;
                check_task(g, id, uid, [add, container = std::move(container)](bool there) mutable {
                  if (there) container.state = ContainerState::kUnknown;
                  add(std::move(container));
                });
              });
}

void Observer::check_task(const std::shared_ptr<Gather>& g, const std::string& id, const std::string& uid,
                          std::function<void(bool there)> done) {
  forgotten_.find(id, [this, g, id, uid, done = std::move(done)](Result<bool> there) {
    if (!there.ok()) g->error = there.error();
    if (there.ok() && *there) forgotten_.end(id, [this, uid] { changed_(uid); });
    done(there.ok() && *there);
  });
}

void Observer::gathered(const std::shared_ptr<Gather>& g) {
  if (--g->waiting > 0) return;
  if (g->error) return g->done(*g->error);
  std::vector<RuntimePod> pods;
  for (auto& [uid, pod] : g->pods) {
    auto newest = [](const auto& a, const auto& b) {
      return std::tie(a.attempt, a.created_at) > std::tie(b.attempt, b.created_at);
    };
    std::sort(pod.sandboxes.begin(), pod.sandboxes.end(), newest);
    std::sort(pod.containers.begin(), pod.containers.end(), newest);
    bool behind = false;
    // One that ends at once is over before CRI shows it as running: a created one lags, too.
    for (const auto& c : pod.containers) behind |= lags(c.id, c.state != ContainerState::kExited);
    for (const auto& s : pod.sandboxes) behind |= lags(s.id, s.ready);
    if (behind) recheck(uid);
    pods.push_back(std::move(pod));
  }
  if (g->all) prune(pods);
  g->done(std::move(pods));
}

bool Observer::lags(const std::string& id, bool alive) {
  auto expected = expected_exits_.find(id);
  if (expected == expected_exits_.end()) return false;
  if (alive && --expected->second > 0) return true;
  expected_exits_.erase(expected);
  return false;
}

void Observer::forget(const std::string& id) {
  pod_of_.erase(id);
  ips_.erase(id);
  settled_.erase(id);
  expected_exits_.erase(id);
}

// What went without our doing, or with its sandbox.
void Observer::prune(const std::vector<RuntimePod>& pods) {
  std::set<std::string> ids, uids;
  for (const auto& pod : pods) {
    uids.insert(pod.uid);
    for (const auto& s : pod.sandboxes) ids.insert(s.id);
    for (const auto& c : pod.containers) ids.insert(c.id);
  }
  std::vector<std::string> gone;
  for (const auto& [id, _] : pod_of_) {
    if (ids.count(id) == 0) gone.push_back(id);
  }
  for (const auto& id : gone) forget(id);
  std::erase_if(rechecks_, [&](const auto& entry) { return uids.count(entry.first) == 0; });
}

}  // namespace gantry::nodeagent

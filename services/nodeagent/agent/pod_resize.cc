// New resources for containers that run: told to the runtime, or, where the container wants that, by starting it anew.
// Until then its status says what it has.
#include "services/nodeagent/agent/pod_worker.h"
#include "services/nodeagent/resource/cgroups.h"
#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr Duration kRetry = std::chrono::seconds(10);

using Lists = std::pair<ResourceList, ResourceList>;  // requests and limits

Lists lists_of(const core::ResourceRequirements* r) {
  return {resource_list(r ? r->requests() : nullptr), resource_list(r ? r->limits() : nullptr)};
}

// By what they mean: 1 is 1000m.
bool same(const ResourceList& a, const ResourceList& b) {
  const auto of = [](const ResourceList& list, const std::string& name) {
    for (const auto& [key, value] : list) {
      if (key == name) return value;
    }
    return std::string();
  };
  for (const auto* list : {&a, &b}) {
    for (const auto& [name, _] : *list) {
      const auto x = model::Quantity::parse(of(a, name)), y = model::Quantity::parse(of(b, name));
      if (x.ok() != y.ok() || (x.ok() && *x != *y)) return false;
    }
  }
  return true;
}
bool same(const Lists& a, const Lists& b) { return same(a.first, b.first) && same(a.second, b.second); }

bool must_restart(const core::Container& container, const Lists& has, const Lists& wants) {
  if (container.resize_policy() == nullptr) return false;
  const auto of = [](const Lists& lists, std::string_view resource) {
    Lists out;
    for (const auto& entry : lists.first) {
      if (entry.first == resource) out.first.push_back(entry);
    }
    for (const auto& entry : lists.second) {
      if (entry.first == resource) out.second.push_back(entry);
    }
    return out;
  };
  for (const auto* policy : *container.resize_policy()) {
    const auto resource = str(policy->resource_name());
    if (str(policy->restart_policy()) == "RestartContainer" && !same(of(has, resource), of(wants, resource)))
      return true;
  }
  return false;
}

const Container* running(const RuntimePod& pod, const std::string& name) {
  for (const auto& c : pod.containers) {
    if (c.name == name) return c.state == ContainerState::kRunning ? &c : nullptr;  // the newest
  }
  return nullptr;
}

}  // namespace

void PodWorker::note_resize(const model::Object& now) {
  const auto& spec_now = *now.as<core::Pod>();
  if (spec_now.spec() == nullptr || observed_.containers.empty()) return;
  // After a restart of the agent the API's word is all there is.
  std::map<std::string, Lists> told;
  if (!pod_) {
    const auto status = decode_status(spec_now);
    for (const auto* list : {&status.containers, &status.init_containers}) {
      for (const auto& c : *list) {
        const auto* here = running(observed_, c.name);
        if (c.has_resources && here != nullptr && c.container_id.ends_with(here->id))
          told[c.name] = {c.requests, c.limits};
      }
    }
  }
  for (const auto* list : {spec_now.spec()->containers(), spec_now.spec()->init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list) {
      const auto name = std::string(str(c->name()));
      if (running(observed_, name) == nullptr) continue;
      const auto* before = pod_ ? find_container(name) : nullptr;
      const auto known = told.find(name);
      if (before == nullptr && known == told.end()) continue;
      auto has = before ? lists_of(before->resources()) : known->second;
      if (!same(has, lists_of(c->resources()))) memory_.actual_resources.try_emplace(name, std::move(has));
    }
  }
}

void PodWorker::resize() {
  if (!pod_ || !desired_ || memory_.terminal || memory_.termination) return;
  // Who does not run gets what the spec says when it starts; who has it already is done.
  std::erase_if(memory_.actual_resources, [&](const auto& entry) {
    if (resizing_.count(entry.first) != 0) return false;
    const auto* c = find_container(entry.first);
    return c == nullptr || running(observed_, entry.first) == nullptr || same(entry.second, lists_of(c->resources()));
  });
  if (memory_.actual_resources.empty()) {
    memory_.resize.reset();
    resize_retry_.reset();
    return;
  }
  if (!resizing_.empty()) return;
  if (context_.fits) {
    if (auto no = context_.fits(pod_)) {
      memory_.resize = {"PodResizePending", no->infeasible ? "Infeasible" : "Deferred", no->message};
      // Others may have gone by then.
      if (!resize_retry_)
        resize_retry_ = context_.loop.after(kRetry, [this] {
          resize_retry_.reset();
          wake();
        });
      return;
    }
  }
  if (resize_retry_ && memory_.resize && memory_.resize->reason == "Error") return;
  memory_.resize = {"PodResizeInProgress", "", ""};
  for (const auto& [name, has] : memory_.actual_resources) {
    const auto* c = find_container(name);
    const auto* here = running(observed_, name);
    resizing_.insert(name);
    if (must_restart(*c, has, lists_of(c->resources()))) {
      record(false, "Killing", fmt::format("Container {} resize requires restart", name));
      PodInput input{spec(), desired_, &observed_, context_.node.host_ips, context_.loop.wall()};
      context_.runtime.stop_container(here->id, std::chrono::seconds(grace_seconds(input)), stop_signal(here->id),
                                      guard([this, name = name](const Status&) {
                                        resizing_.erase(name);
                                        observe();
                                      }));
    } else {
      resize_container(name, here->id);
    }
  }
}

void PodWorker::resize_container(const std::string& name, const std::string& id) {
  const auto limits = container_resources(*spec()->spec(), *find_container(name), context_.node.memory_bytes);
  const auto wanted = lists_of(find_container(name)->resources());
  // A group may not have more than the one above it, so what grows does so from above, what shrinks from below.
  auto whole = [path = pod_cgroup(*spec(), context_.node), all = pod_cgroup_resources(*spec()->spec()),
                pids = context_.node.pod_pids, own = context_.node.pod_cgroups && context_.disk] {
    if (own && !path.empty()) (void)Cgroups().apply(path, all, pids);
  };
  auto told = [this, name, wanted, whole](const Status& s) {
    context_.executor.run(whole, guard([this, name, wanted, s] {
                            resizing_.erase(name);
                            if (s.ok()) {
                              if (auto it = memory_.actual_resources.find(name); it != memory_.actual_resources.end())
                                it->second = wanted;
                              record(false, "ResizeCompleted", fmt::format("Container {} has its new resources", name));
                            } else {
                              memory_.resize = {"PodResizeInProgress", "Error", s.error().message};
                              record(true, "ResizeError", s.error().message);
                              resize_retry_ = context_.loop.after(kRetry, [this] {
                                resize_retry_.reset();
                                wake();
                              });
                            }
                            wake();
                          }));
  };
  context_.executor.run(
      whole, guard([this, id, limits, told] { context_.runtime.update_container(id, limits, guard(told)); }));
}

}  // namespace gantry::nodeagent

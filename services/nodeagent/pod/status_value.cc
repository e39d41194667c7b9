#include "services/nodeagent/pod/status_value.h"

#include <algorithm>
#include <array>
#include <set>

#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using model::str;

constexpr std::array kOwnConditions = {"PodReadyToStartContainers", "Initialized",  "Ready",
                                       "ContainersReady",           "PodScheduled", "PodResizePending",
                                       "PodResizeInProgress"};

Offset<flatbuffers::String> text(FlatBufferBuilder& b, std::string_view s) {
  return s.empty() ? Offset<flatbuffers::String>() : b.CreateString(s.data(), s.size());
}

Offset<core::ContainerState> encode(FlatBufferBuilder& b, const ContainerStateValue& s) {
  using Kind = ContainerStateValue::Kind;
  auto reason = text(b, s.reason);
  auto message = text(b, s.message);
  auto id = text(b, s.container_id);
  switch (s.kind) {
    case Kind::kNone: {
      core::ContainerStateBuilder empty(b);
      return empty.Finish();
    }
    case Kind::kWaiting: {
      core::ContainerStateWaitingBuilder waiting(b);
      waiting.add_reason(reason);
      waiting.add_message(message);
      auto w = waiting.Finish();
      core::ContainerStateBuilder state(b);
      state.add_waiting(w);
      return state.Finish();
    }
    case Kind::kRunning: {
      core::ContainerStateRunningBuilder running(b);
      if (s.started_at != 0) running.add_started_at(s.started_at);
      auto r = running.Finish();
      core::ContainerStateBuilder state(b);
      state.add_running(r);
      return state.Finish();
    }
    case Kind::kTerminated: {
      core::ContainerStateTerminatedBuilder terminated(b);
      terminated.add_exit_code(s.exit_code);
      terminated.add_reason(reason);
      terminated.add_message(message);
      if (s.started_at != 0) terminated.add_started_at(s.started_at);
      if (s.finished_at != 0) terminated.add_finished_at(s.finished_at);
      terminated.add_container_id(id);
      auto t = terminated.Finish();
      core::ContainerStateBuilder state(b);
      state.add_terminated(t);
      return state.Finish();
    }
  }
  return {};
}

using Entries = flatbuffers::Vector<Offset<api::meta_v1::StringEntry>>;

Offset<Entries> encode(FlatBufferBuilder& b, const ResourceList& resources) {
  if (resources.empty()) return {};
  std::vector<Offset<api::meta_v1::StringEntry>> out;
  for (const auto& [name, quantity] : resources)
    out.push_back(api::meta_v1::CreateStringEntry(b, b.CreateString(name), b.CreateString(quantity)));
  return b.CreateVector(out);
}

Offset<core::ResourceRequirements> encode_resources(FlatBufferBuilder& b, const ContainerStatusValue& s) {
  if (!s.has_resources) return {};
  auto limits = encode(b, s.limits), requests = encode(b, s.requests);
  return core::CreateResourceRequirements(b, limits, requests);
}

Offset<flatbuffers::Vector<Offset<core::VolumeMountStatus>>> encode(FlatBufferBuilder& b,
                                                                    const std::vector<MountStatusValue>& mounts) {
  if (mounts.empty()) return {};
  std::vector<Offset<core::VolumeMountStatus>> out;
  for (const auto& m : mounts) {
    auto name = b.CreateString(m.name), path = b.CreateString(m.path);
    auto recursive = text(b, m.recursive);
    core::VolumeMountStatusBuilder mount(b);
    mount.add_name(name);
    mount.add_mount_path(path);
    if (m.readonly) mount.add_read_only(true);
    mount.add_recursive_read_only(recursive);
    out.push_back(mount.Finish());
  }
  return b.CreateVector(out);
}

Offset<core::ContainerUser> encode(FlatBufferBuilder& b, const std::optional<nodeagent::ContainerUser>& user) {
  if (!user) return {};
  auto groups = user->groups.empty() ? Offset<flatbuffers::Vector<int64_t>>() : b.CreateVector(user->groups);
  core::LinuxContainerUserBuilder linux_user(b);
  linux_user.add_uid(user->uid);
  linux_user.add_gid(user->gid);
  linux_user.add_supplemental_groups(groups);
  return core::CreateContainerUser(b, linux_user.Finish());
}

using Statuses = flatbuffers::Vector<Offset<core::ContainerStatus>>;

Offset<Statuses> encode(FlatBufferBuilder& b, const std::vector<ContainerStatusValue>& statuses) {
  if (statuses.empty()) return {};
  std::vector<Offset<core::ContainerStatus>> out;
  for (const auto& s : statuses) {
    auto name = b.CreateString(s.name), image = b.CreateString(s.image), image_id = b.CreateString(s.image_id);
    auto id = text(b, s.container_id), stop_signal = text(b, s.stop_signal);
    auto state = encode(b, s.state), last = encode(b, s.last_state);
    auto allocated = encode(b, s.allocated);
    auto resources = encode_resources(b, s);
    auto mounts = encode(b, s.mounts);
    auto user = encode(b, s.user);
    core::ContainerStatusBuilder status(b);
    status.add_name(name);
    status.add_image(image);
    status.add_image_id(image_id);
    status.add_container_id(id);
    status.add_stop_signal(stop_signal);
    status.add_state(state);
    status.add_last_state(last);
    status.add_ready(s.ready);
    if (s.started) status.add_started(*s.started);
    status.add_restart_count(s.restart_count);
    status.add_allocated_resources(allocated);
    status.add_resources(resources);
    status.add_volume_mounts(mounts);
    status.add_user(user);
    out.push_back(status.Finish());
  }
  return b.CreateVector(out);
}

Offset<flatbuffers::Vector<Offset<core::PodCondition>>> encode_conditions(FlatBufferBuilder& b,
                                                                          const PodStatusValue& status,
                                                                          const core::Pod* current) {
  std::vector<Offset<core::PodCondition>> out;
  auto add = [&](std::string_view type, std::string_view value, std::string_view reason, std::string_view message,
                 int64_t transition, int64_t probe, int64_t generation) {
    auto t = text(b, type), v = text(b, value), r = text(b, reason), m = text(b, message);
    core::PodConditionBuilder condition(b);
    condition.add_type(t);
    condition.add_status(v);
    condition.add_reason(r);
    condition.add_message(m);
    if (transition != 0) condition.add_last_transition_time(transition);
    if (probe != 0) condition.add_last_probe_time(probe);
    if (generation != 0) condition.add_observed_generation(generation);
    out.push_back(condition.Finish());
  };
  for (const auto& c : status.conditions)
    add(c.type, c.status ? "True" : "False", c.reason, c.message, c.transition, 0, c.observed_generation);
  if (current && current->status() && current->status()->conditions()) {
    for (const auto* c : *current->status()->conditions()) {
      auto said = [&](const ConditionValue& own) { return own.type == str(c->type()); };
      if (std::find(kOwnConditions.begin(), kOwnConditions.end(), str(c->type())) != kOwnConditions.end() ||
          std::any_of(status.conditions.begin(), status.conditions.end(), said))
        continue;
      add(str(c->type()), str(c->status()), str(c->reason()), str(c->message()), c->last_transition_time().value_or(0),
          c->last_probe_time().value_or(0), c->observed_generation().value_or(0));
    }
  }
  return b.CreateVector(out);
}

template <typename Table, typename Create>
Offset<flatbuffers::Vector<Offset<Table>>> addresses(FlatBufferBuilder& b, const std::vector<std::string>& ips,
                                                     Create create) {
  std::vector<Offset<Table>> out;
  for (const auto& ip : ips) out.push_back(create(b, b.CreateString(ip)));
  return out.empty() ? Offset<flatbuffers::Vector<Offset<Table>>>() : b.CreateVector(out);
}

ContainerStateValue decode(const core::ContainerState* s) {
  using Kind = ContainerStateValue::Kind;
  ContainerStateValue out;
  if (s == nullptr) return out;
  if (const auto* w = s->waiting()) {
    out.kind = Kind::kWaiting;
    out.reason = str(w->reason());
    out.message = str(w->message());
  } else if (const auto* r = s->running()) {
    out.kind = Kind::kRunning;
    out.started_at = r->started_at().value_or(0);
  } else if (const auto* t = s->terminated()) {
    out.kind = Kind::kTerminated;
    out.reason = str(t->reason());
    out.message = str(t->message());
    out.exit_code = t->exit_code().value_or(0);
    out.started_at = t->started_at().value_or(0);
    out.finished_at = t->finished_at().value_or(0);
    out.container_id = str(t->container_id());
  }
  return out;
}

std::vector<ContainerStatusValue> decode(const Statuses* statuses) {
  std::vector<ContainerStatusValue> out;
  if (statuses == nullptr) return out;
  for (const auto* s : *statuses) {
    ContainerStatusValue value;
    value.name = str(s->name());
    value.image = str(s->image());
    value.image_id = str(s->image_id());
    value.container_id = str(s->container_id());
    value.stop_signal = str(s->stop_signal());
    value.state = decode(s->state());
    value.last_state = decode(s->last_state());
    value.ready = s->ready().value_or(false);
    if (s->started().has_value()) value.started = *s->started();
    value.restart_count = s->restart_count().value_or(0);
    value.allocated = resource_list(s->allocated_resources());
    if (const auto* r = s->resources()) {
      value.has_resources = true;
      value.requests = resource_list(r->requests());
      value.limits = resource_list(r->limits());
    }
    if (s->volume_mounts()) {
      for (const auto* m : *s->volume_mounts())
        value.mounts.push_back({std::string(str(m->name())), std::string(str(m->mount_path())),
                                std::string(str(m->recursive_read_only())), m->read_only().value_or(false)});
    }
    if (s->user() && s->user()->linux()) {
      const auto& user = *s->user()->linux();
      value.user = nodeagent::ContainerUser{user.uid().value_or(0), user.gid().value_or(0), {}};
      if (user.supplemental_groups())
        value.user->groups.assign(user.supplemental_groups()->begin(), user.supplemental_groups()->end());
    }
    out.push_back(std::move(value));
  }
  return out;
}

Offset<flatbuffers::Vector<Offset<core::PodResourceClaimStatus>>> claims(FlatBufferBuilder& b,
                                                                         const core::PodStatus* current) {
  if (current == nullptr || current->resource_claim_statuses() == nullptr) return {};
  std::vector<Offset<core::PodResourceClaimStatus>> out;
  for (const auto* claim : *current->resource_claim_statuses())
    out.push_back(
        core::CreatePodResourceClaimStatus(b, text(b, str(claim->name())), text(b, str(claim->resource_claim_name()))));
  return b.CreateVector(out);
}

}  // namespace

ResourceList resource_list(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* map) {
  ResourceList out;
  if (map == nullptr) return out;
  for (const auto* entry : *map) out.emplace_back(str(entry->key()), str(entry->value()));
  return out;
}

model::Bytes encode_status(std::string_view ns, std::string_view name, std::string_view uid, const PodStatusValue& s,
                           const core::Pod* current) {
  FlatBufferBuilder b(1024);
  auto m_name = text(b, name), m_ns = text(b, ns), m_uid = text(b, uid);
  api::meta_v1::ObjectMetaBuilder meta(b);
  meta.add_name(m_name);
  meta.add_namespace_(m_ns);
  meta.add_uid(m_uid);
  auto metadata = meta.Finish();

  auto phase = text(b, s.phase), reason = text(b, s.reason), message = text(b, s.message), qos = text(b, s.qos_class);
  auto host_ip = text(b, s.host_ips.empty() ? "" : s.host_ips[0]),
       pod_ip = text(b, s.pod_ips.empty() ? "" : s.pod_ips[0]);
  auto host_ips = addresses<core::HostIP>(b, s.host_ips, core::CreateHostIP);
  auto pod_ips = addresses<core::PodIP>(b, s.pod_ips, core::CreatePodIP);
  auto conditions = encode_conditions(b, s, current);
  auto init_containers = encode(b, s.init_containers), containers = encode(b, s.containers),
       ephemeral = encode(b, s.ephemeral);
  const auto* shown = current ? current->status() : nullptr;
  auto resource_claims = claims(b, shown);
  auto nominated = text(b, shown ? str(shown->nominated_node_name()) : std::string_view());
  core::PodStatusBuilder status(b);
  status.add_phase(phase);
  status.add_reason(reason);
  status.add_message(message);
  status.add_qos_class(qos);
  status.add_host_ip(host_ip);
  status.add_pod_ip(pod_ip);
  status.add_host_ips(host_ips);
  status.add_pod_ips(pod_ips);
  if (s.start_time != 0) status.add_start_time(s.start_time);
  if (s.observed_generation != 0) status.add_observed_generation(s.observed_generation);
  status.add_conditions(conditions);
  status.add_init_container_statuses(init_containers);
  status.add_container_statuses(containers);
  status.add_ephemeral_container_statuses(ephemeral);
  status.add_resource_claim_statuses(resource_claims);
  status.add_nominated_node_name(nominated);
  auto encoded = status.Finish();

  core::PodBuilder pod(b);
  pod.add_metadata(metadata);
  pod.add_status(encoded);
  b.Finish(pod.Finish());
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

PodStatusValue decode_status(const core::Pod& pod) {
  PodStatusValue out;
  const auto* s = pod.status();
  if (s == nullptr) return out;
  out.phase = str(s->phase());
  out.reason = str(s->reason());
  out.message = str(s->message());
  out.qos_class = str(s->qos_class());
  out.start_time = s->start_time().value_or(0);
  out.observed_generation = s->observed_generation().value_or(0);
  if (s->host_ips()) {
    for (const auto* ip : *s->host_ips()) out.host_ips.emplace_back(str(ip->ip()));
  }
  if (s->pod_ips()) {
    for (const auto* ip : *s->pod_ips()) out.pod_ips.emplace_back(str(ip->ip()));
  }
  if (s->conditions()) {
    for (const auto* c : *s->conditions()) {
      out.conditions.push_back({std::string(str(c->type())), str(c->status()) == "True", std::string(str(c->reason())),
                                std::string(str(c->message())), c->last_transition_time().value_or(0),
                                c->observed_generation().value_or(0)});
    }
  }
  out.init_containers = decode(s->init_container_statuses());
  out.containers = decode(s->container_statuses());
  out.ephemeral = decode(s->ephemeral_container_statuses());
  return out;
}

std::string qos_class(const core::PodSpec& spec) { return qos_name(pod_qos(spec)); }

}  // namespace gantry::nodeagent

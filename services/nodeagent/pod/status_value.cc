#include "services/nodeagent/pod/status_value.h"

#include <algorithm>
#include <array>
#include <set>

#include "libs/model/quantity.h"

namespace gantry::nodeagent {

namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using model::str;

constexpr std::array kOwnConditions = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                       "PodScheduled"};

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

using Statuses = flatbuffers::Vector<Offset<core::ContainerStatus>>;

Offset<Statuses> encode(FlatBufferBuilder& b, const std::vector<ContainerStatusValue>& statuses) {
  if (statuses.empty()) return {};
  std::vector<Offset<core::ContainerStatus>> out;
  for (const auto& s : statuses) {
    auto name = b.CreateString(s.name), image = b.CreateString(s.image), image_id = b.CreateString(s.image_id);
    auto id = text(b, s.container_id);
    auto state = encode(b, s.state), last = encode(b, s.last_state);
    core::ContainerStatusBuilder status(b);
    status.add_name(name);
    status.add_image(image);
    status.add_image_id(image_id);
    status.add_container_id(id);
    status.add_state(state);
    status.add_last_state(last);
    status.add_ready(s.ready);
    if (s.started) status.add_started(*s.started);
    status.add_restart_count(s.restart_count);
    out.push_back(status.Finish());
  }
  return b.CreateVector(out);
}

Offset<flatbuffers::Vector<Offset<core::PodCondition>>> encode_conditions(FlatBufferBuilder& b,
                                                                          const PodStatusValue& status,
                                                                          const core::Pod* current) {
  std::vector<Offset<core::PodCondition>> out;
  auto add = [&](std::string_view type, std::string_view value, std::string_view reason, std::string_view message,
                 int64_t transition, int64_t probe) {
    auto t = text(b, type), v = text(b, value), r = text(b, reason), m = text(b, message);
    core::PodConditionBuilder condition(b);
    condition.add_type(t);
    condition.add_status(v);
    condition.add_reason(r);
    condition.add_message(m);
    if (transition != 0) condition.add_last_transition_time(transition);
    if (probe != 0) condition.add_last_probe_time(probe);
    out.push_back(condition.Finish());
  };
  for (const auto& c : status.conditions)
    add(c.type, c.status ? "True" : "False", c.reason, c.message, c.transition, 0);
  if (current && current->status() && current->status()->conditions()) {
    for (const auto* c : *current->status()->conditions()) {
      if (std::find(kOwnConditions.begin(), kOwnConditions.end(), str(c->type())) != kOwnConditions.end()) continue;
      add(str(c->type()), str(c->status()), str(c->reason()), str(c->message()), c->last_transition_time().value_or(0),
          c->last_probe_time().value_or(0));
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
    value.state = decode(s->state());
    value.last_state = decode(s->last_state());
    value.ready = s->ready().value_or(false);
    if (s->started().has_value()) value.started = *s->started();
    value.restart_count = s->restart_count().value_or(0);
    out.push_back(std::move(value));
  }
  return out;
}

}  // namespace

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
  auto init_containers = encode(b, s.init_containers), containers = encode(b, s.containers);
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
                                std::string(str(c->message())), c->last_transition_time().value_or(0)});
    }
  }
  out.init_containers = decode(s->init_container_statuses());
  out.containers = decode(s->container_statuses());
  return out;
}

std::string qos_class(const core::PodSpec& spec) {
  bool any = false, guaranteed = true;
  auto visit = [&](const auto* containers) {
    if (containers == nullptr) return;
    for (const auto* c : *containers) {
      const auto* r = c->resources();
      for (const char* name : {"cpu", "memory"}) {
        const auto* limit = r && r->limits() ? model::lookup(r->limits(), name) : nullptr;
        const auto* request = r && r->requests() ? model::lookup(r->requests(), name) : nullptr;
        any = any || limit != nullptr || request != nullptr;
        guaranteed = guaranteed && limit != nullptr && (request == nullptr || str(request) == str(limit));
      }
    }
  };
  visit(spec.containers());
  visit(spec.init_containers());
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace gantry::nodeagent

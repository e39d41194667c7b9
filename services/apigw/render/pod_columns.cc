// How `kubectl get pods` words a pod's state; the order of the rules is the API server's printer's.
#include <fmt/format.h>

#include "schemas/all.h"
#include "services/apigw/render/columns.h"

namespace gantry::apigw::columns {
namespace {

using api::core_v1::ContainerStatus;
using api::core_v1::Pod;
using model::str;

struct Summary {
  int ready = 0, total = 0;
  int64_t restarts = 0;
  int64_t last_restart = 0;  // unix seconds, 0: never
  std::string reason;
};

bool has_condition(const Pod* pod, std::string_view type) {
  if (!pod->status() || !pod->status()->conditions()) return false;
  for (const auto* c : *pod->status()->conditions()) {
    if (str(c->type()) == type) return str(c->status()) == "True";
  }
  return false;
}

const api::core_v1::ContainerStateTerminated* terminated(const ContainerStatus* s) {
  return s->state() ? s->state()->terminated() : nullptr;
}
std::string_view waiting_reason(const ContainerStatus* s) {
  return s->state() && s->state()->waiting() ? str(s->state()->waiting()->reason()) : std::string_view();
}

std::string exit_words(const api::core_v1::ContainerStateTerminated* t) {
  if (!str(t->reason()).empty()) return std::string(str(t->reason()));
  if (t->signal().value_or(0) != 0) return fmt::format("Signal:{}", *t->signal());
  return fmt::format("ExitCode:{}", t->exit_code().value_or(0));
}

void count_restarts(const ContainerStatus* s, Summary& out) {
  out.restarts += s->restart_count().value_or(0);
  if (s->last_state() && s->last_state()->terminated()) {
    out.last_restart = std::max(out.last_restart, s->last_state()->terminated()->finished_at().value_or(0));
  }
}

bool is_sidecar(const Pod* pod, std::string_view name) {
  if (!pod->spec() || !pod->spec()->init_containers()) return false;
  for (const auto* c : *pod->spec()->init_containers()) {
    if (str(c->name()) == name) return str(c->restart_policy()) == "Always";
  }
  return false;
}

/// Returns true while the pod still initializes.
bool summarize_init(const Pod* pod, Summary& out) {
  const auto* statuses = pod->status()->init_container_statuses();
  if (!statuses) return false;
  for (size_t i = 0; i < statuses->size(); ++i) {
    const auto* s = statuses->Get(static_cast<unsigned>(i));
    count_restarts(s, out);
    const auto* t = terminated(s);
    if (t && t->exit_code().value_or(0) == 0) continue;
    if (is_sidecar(pod, str(s->name())) && s->started().value_or(false)) {
      if (s->ready().value_or(false)) ++out.ready;
      continue;
    }
    auto waiting = waiting_reason(s);
    if (t) {
      out.reason = "Init:" + exit_words(t);
    } else if (!waiting.empty() && waiting != "PodInitializing") {
      out.reason = fmt::format("Init:{}", waiting);
    } else {
      out.reason =
          fmt::format("Init:{}/{}", i, pod->spec()->init_containers() ? pod->spec()->init_containers()->size() : 0);
    }
    return true;
  }
  return false;
}

void summarize_main(const Pod* pod, Summary& out) {
  const auto* statuses = pod->status()->container_statuses();
  if (!statuses) return;
  bool running = false;
  for (size_t n = statuses->size(); n > 0; --n) {
    const auto* s = statuses->Get(static_cast<unsigned>(n - 1));
    count_restarts(s, out);
    auto waiting = waiting_reason(s);
    if (!waiting.empty()) {
      out.reason = waiting;
    } else if (const auto* t = terminated(s)) {
      out.reason = exit_words(t);
    } else if (s->ready().value_or(false) && s->state() && s->state()->running()) {
      running = true;
      ++out.ready;
    }
  }
  if (out.reason == "Completed" && running) out.reason = has_condition(pod, "Ready") ? "Running" : "NotReady";
}

Summary summarize(const model::Object& object) {
  const auto* pod = object.as<Pod>();
  Summary out;
  if (pod->spec() && pod->spec()->containers()) out.total = static_cast<int>(pod->spec()->containers()->size());
  if (pod->spec() && pod->spec()->init_containers()) {
    for (const auto* c : *pod->spec()->init_containers()) out.total += str(c->restart_policy()) == "Always" ? 1 : 0;
  }
  const auto* status = pod->status();
  std::string_view phase = status ? str(status->phase()) : std::string_view("Pending");
  out.reason = status && !str(status->reason()).empty() ? str(status->reason()) : phase;
  if (status) {
    if (status->conditions()) {
      for (const auto* c : *status->conditions()) {
        if (str(c->type()) == "PodScheduled" && str(c->reason()) == "SchedulingGated") out.reason = "SchedulingGated";
      }
    }
    if (!summarize_init(pod, out) || has_condition(pod, "Initialized")) summarize_main(pod, out);
  }
  const auto* meta = object.meta();
  if (meta && meta->deletion_timestamp()) {
    if (status && str(status->reason()) == "NodeLost") {
      out.reason = "Unknown";
    } else if (phase != "Succeeded" && phase != "Failed") {
      out.reason = "Terminating";
    }
  }
  return out;
}

}  // namespace

json pod_ready(const model::Object& object, WallMicros) {
  auto s = summarize(object);
  return fmt::format("{}/{}", s.ready, s.total);
}

json pod_status(const model::Object& object, WallMicros) { return summarize(object).reason; }

json pod_restarts(const model::Object& object, WallMicros now) {
  auto s = summarize(object);
  if (s.restarts == 0 || s.last_restart == 0) return std::to_string(s.restarts);
  return fmt::format("{} ({} ago)", s.restarts, since(s.last_restart, now));
}

json pod_readiness_gates(const model::Object& object, WallMicros) {
  const auto* pod = object.as<Pod>();
  if (!pod->spec() || !pod->spec()->readiness_gates() || pod->spec()->readiness_gates()->size() == 0) return "<none>";
  int met = 0;
  for (const auto* gate : *pod->spec()->readiness_gates())
    met += has_condition(pod, str(gate->condition_type())) ? 1 : 0;
  return fmt::format("{}/{}", met, pod->spec()->readiness_gates()->size());
}

}  // namespace gantry::apigw::columns

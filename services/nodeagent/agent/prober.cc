#include "services/nodeagent/agent/prober.h"

namespace gantry::nodeagent {

using model::str;

namespace {

Duration seconds(flatbuffers::Optional<int32_t> v, int fallback) {
  int value = v.value_or(0);
  return std::chrono::seconds(value > 0 ? value : fallback);
}
int count(flatbuffers::Optional<int32_t> v, int fallback) { return v.value_or(0) > 0 ? *v : fallback; }

bool needs_address(const core::Probe& probe) {
  if (const auto* http = probe.http_get()) return str(http->host()).empty();
  if (const auto* tcp = probe.tcp_socket()) return str(tcp->host()).empty();
  return probe.grpc() != nullptr;
}

}  // namespace

uint16_t resolve_port(const api::meta_v1::IntOrString* port, const core::Container& container) {
  if (port == nullptr) return 0;
  if (port->int_value().has_value()) return static_cast<uint16_t>(*port->int_value());
  auto name = str(port->str_value());
  if (container.ports()) {
    for (const auto* p : *container.ports()) {
      if (str(p->name()) == name) return static_cast<uint16_t>(p->container_port().value_or(0));
    }
  }
  return static_cast<uint16_t>(std::strtoul(std::string(name).c_str(), nullptr, 10));
}

ProbeTransport::Http render_http(const core::HTTPGetAction& action, const core::Container& container,
                                 const std::string& pod_ip) {
  ProbeTransport::Http out;
  auto host = str(action.host()).empty() ? pod_ip : std::string(str(action.host()));
  if (host.find(':') != std::string::npos) host = fmt::format("[{}]", host);
  auto path = std::string(str(action.path()));
  if (path.empty() || path[0] != '/') path.insert(0, "/");
  out.url = fmt::format("{}://{}:{}{}", str(action.scheme()) == "HTTPS" ? "https" : "http", host,
                        resolve_port(action.port(), container), path);
  if (action.http_headers()) {
    for (const auto* h : *action.http_headers()) out.headers.emplace_back(str(h->name()), str(h->value()));
  }
  return out;
}

void Prober::reconcile(const core::Pod& pod, const RuntimePod& observed, const std::string& pod_ip, WallMicros now,
                       bool ending, const std::set<std::string>& skipped) {
  std::set<std::string> wanted;
  auto visit = [&](const core::Container& spec) {
    if (!spec.liveness_probe() && !spec.readiness_probe() && !spec.startup_probe()) return;
    for (const auto& c : observed.containers) {
      if (c.name != str(spec.name())) continue;
      if (c.state != ContainerState::kRunning || skipped.count(c.id) != 0) break;
      wanted.insert(c.id);
      auto& probed = containers_[c.id];
      // The pod's buffer changes with each of its revisions: take the pointers anew.
      probed.spec = &spec;
      if (!pod_ip.empty()) probed.ip = pod_ip;
      bool fresh = probed.id.empty();
      probed.id = c.id;
      probed.name = c.name;
      if (fresh) probed.results.started = spec.startup_probe() == nullptr;
      auto age = std::max<int64_t>(0, (now * 1'000 - c.started_at) / 1'000'000'000);
      add(probed, "Readiness", spec.readiness_probe(), age);
      if (ending) {
        probed.probes.erase("Startup");
        probed.probes.erase("Liveness");
        break;
      }
      add(probed, "Startup", spec.startup_probe(), age);
      add(probed, "Liveness", spec.liveness_probe(), age);
      break;
    }
  };
  if (pod.spec()->init_containers()) {
    for (const auto* c : *pod.spec()->init_containers()) {
      if (str(c->restart_policy()) == "Always") visit(*c);
    }
  }
  for (const auto* c : *pod.spec()->containers()) visit(*c);
  std::erase_if(containers_, [&](const auto& entry) { return wanted.count(entry.first) == 0; });
}

void Prober::add(Probed& c, const char* kind, const core::Probe* spec, int64_t age_seconds) {
  if (spec == nullptr) return;
  auto [it, fresh] = c.probes.try_emplace(kind);
  it->second.spec = spec;
  if (!fresh) return;
  it->second.kind = kind;
  auto delay = std::max<int64_t>(0, spec->initial_delay_seconds().value_or(0) - age_seconds);
  it->second.timer =
      loop_.after(std::chrono::seconds(delay), [this, id = c.id, kind = std::string(kind)] { probe(id, kind); });
}

void Prober::probe(const std::string& id, const std::string& kind) {
  auto found = containers_.find(id);
  if (found == containers_.end()) return;
  auto& c = found->second;
  auto asked = c.probes.find(kind);
  if (asked == c.probes.end()) return;
  auto& p = asked->second;
  p.timer = loop_.after(seconds(p.spec->period_seconds(), 10), [this, id, kind] { probe(id, kind); });
  bool startup = kind == "Startup";
  if (p.under_way || (startup ? c.results.started : !c.results.started)) return;
  if (c.ip.empty() && needs_address(*p.spec)) return;  // the pod's network is not known: nothing is concluded
  p.under_way = true;
  auto timeout = seconds(p.spec->timeout_seconds(), 1);
  auto done = [this, id, kind, weak = std::weak_ptr<bool>(alive_)](const Status& result) {
    if (!weak.expired()) on_result(id, kind, result);
  };
  if (const auto* http = p.spec->http_get()) {
    transport_.http(render_http(*http, *c.spec, c.ip), timeout, done);
  } else if (const auto* tcp = p.spec->tcp_socket()) {
    auto host = str(tcp->host()).empty() ? c.ip : std::string(str(tcp->host()));
    transport_.tcp(host, resolve_port(tcp->port(), *c.spec), timeout, done);
  } else if (const auto* grpc = p.spec->grpc()) {
    transport_.grpc(c.ip, static_cast<uint16_t>(grpc->port().value_or(0)), std::string(str(grpc->service())), timeout,
                    done);
  } else if (const auto* exec = p.spec->exec()) {
    std::vector<std::string> command;
    if (exec->command()) {
      for (const auto* word : *exec->command()) command.emplace_back(str(word));
    }
    runtime_.exec_sync(id, command, timeout, [done](Result<Runtime::ExecResult> r) {
      if (!r.ok()) {
        // The runtime is away: nothing is learned of the container.
        const bool unknown = r.code() == Code::kUnavailable || r.code() == Code::kNotFound;
        return done(unknown ? Error{Code::kUnknownOutcome, r.error().message} : r.error());
      }
      if (r->exit_code != 0) return done(Error{Code::kInternal, r->output});
      done(gantry::Done{});
    });
  } else {
    loop_.post([done] { done(gantry::Done{}); });
  }
}

void Prober::on_result(const std::string& id, const std::string& kind, const Status& result) {
  auto found = containers_.find(id);
  if (found == containers_.end()) return;
  auto& c = found->second;
  auto asked = c.probes.find(kind);
  if (asked == c.probes.end()) return;
  auto& p = asked->second;
  p.under_way = false;
  if (!result.ok() && result.code() == Code::kUnknownOutcome && p.spec->exec()) return;
  auto before = c.results;
  if (result.ok()) {
    p.failures = 0;
    if (++p.successes >= count(p.spec->success_threshold(), 1)) {
      if (kind == "Readiness") c.results.ready = true;
      if (kind == "Startup" && !c.results.started) {
        c.results.started = true;
        // The others begin now, not at their next period.
        for (const char* other : {"Readiness", "Liveness"}) {
          if (auto o = c.probes.find(other); o != c.probes.end()) {
            o->second.timer =
                loop_.after(Duration::zero(), [this, id, other = std::string(other)] { probe(id, other); });
          }
        }
      }
    }
  } else {
    p.successes = 0;
    failed_(c.name, kind, result.error().message);
    if (++p.failures >= count(p.spec->failure_threshold(), 3)) {
      if (kind == "Readiness") {
        c.results.ready = false;
      } else {
        c.results.live = false;
        c.results.failure = result.error().message;
      }
    }
  }
  if (before.started != c.results.started || before.ready != c.results.ready || before.live != c.results.live)
    changed_(id, c.results);
}

}  // namespace gantry::nodeagent

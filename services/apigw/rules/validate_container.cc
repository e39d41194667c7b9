#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
#include "libs/model/quantity.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;
using flatbuffers::uoffset_t;

constexpr const char* kPortRange = "must be between 1 and 65535, inclusive";
constexpr const char* kNotNegative = "must be greater than or equal to 0";

bool port_ok(int64_t port) { return port >= 1 && port <= 65535; }
size_t count(const auto* list) { return list == nullptr ? 0 : list->size(); }

struct Seen {
  std::set<std::string_view> names, volumes;
  std::set<std::string> host_ports;
};

void validate_ports(const core::Container& c, const std::string& at, Seen& seen, Problems& problems) {
  std::set<std::string_view> names;
  for (uoffset_t i = 0; i < count(c.ports()); ++i) {
    const auto& port = *c.ports()->Get(i);
    const std::string path = fmt::format("{}.ports[{}]", at, i);
    if (const auto name = str(port.name()); !name.empty()) {
      problems.check(path + ".name", name, model::check_port_name(name));
      if (!names.insert(name).second) problems.duplicate(path + ".name", name);
    }
    const int number = port.container_port().value_or(0);
    if (number == 0) {
      problems.required(path + ".containerPort");
    } else if (!port_ok(number)) {
      problems.invalid(path + ".containerPort", number, kPortRange);
    }
    const std::string_view protocol = str(port.protocol());
    if (protocol.empty()) {
      problems.required(path + ".protocol");
    } else if (protocol != "TCP" && protocol != "UDP" && protocol != "SCTP") {
      problems.unsupported(path + ".protocol", protocol, {"TCP", "UDP", "SCTP"});
    }
    const int host = port.host_port().value_or(0);
    if (host == 0) continue;
    if (!port_ok(host)) {
      problems.invalid(path + ".hostPort", host, kPortRange);
    } else if (!seen.host_ports.insert(fmt::format("{}/{}/{}", protocol, str(port.host_ip()), host)).second) {
      problems.duplicate(path + ".hostPort", fmt::format("{}/{}/{}", protocol, str(port.host_ip()), host));
    }
  }
}

void validate_env_source(const core::EnvVarSource& from, const std::string& at, Problems& problems) {
  int sources = 0;
  if (const auto* ref = from.field_ref()) {
    ++sources;
    if (str(ref->field_path()).empty()) problems.required(at + ".fieldRef.fieldPath");
  }
  if (const auto* ref = from.resource_field_ref()) {
    ++sources;
    if (str(ref->resource()).empty()) problems.required(at + ".resourceFieldRef.resource");
  }
  const auto key = [&](const auto* ref, const char* field) {
    if (ref == nullptr) return;
    ++sources;
    if (str(ref->name()).empty()) problems.required(fmt::format("{}.{}.name", at, field));
    if (str(ref->key()).empty()) problems.required(fmt::format("{}.{}.key", at, field));
  };
  key(from.config_map_key_ref(), "configMapKeyRef");
  key(from.secret_key_ref(), "secretKeyRef");
  if (from.file_key_ref() != nullptr) ++sources;
  if (sources == 0) {
    problems.invalid(at, "",
                     "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
  } else if (sources > 1) {
    problems.invalid(at, "", "may not have more than one field specified at a time");
  }
}

void validate_env(const core::Container& c, const std::string& at, Problems& problems) {
  for (uoffset_t i = 0; i < count(c.env()); ++i) {
    const auto& env = *c.env()->Get(i);
    const std::string path = fmt::format("{}.env[{}]", at, i);
    if (str(env.name()).empty()) {
      problems.required(path + ".name");
    } else {
      problems.check(path + ".name", str(env.name()), model::check_env_name(str(env.name())));
    }
    if (env.value_from() == nullptr) continue;
    if (!str(env.value()).empty())
      problems.invalid(path + ".valueFrom", "", "may not be specified when `value` is not empty");
    validate_env_source(*env.value_from(), path + ".valueFrom", problems);
  }
}

void validate_resource_name(std::string_view name, const std::string& at, Problems& problems) {
  if (const std::string wrong = model::check_qualified_name(name); !wrong.empty())
    return problems.invalid(at, name, wrong);
  const bool standard =
      name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
  if (!standard && name.find('/') == std::string_view::npos)
    problems.invalid(at, name, "must be a standard resource for containers");
}

void validate_resources(const core::ResourceRequirements* resources, const std::string& at, Problems& problems) {
  if (resources == nullptr) return;
  for (const auto& [list, field] :
       {std::pair{resources->limits(), "limits"}, std::pair{resources->requests(), "requests"}}) {
    for (uoffset_t i = 0; i < count(list); ++i) {
      const auto& entry = *list->Get(i);
      const std::string path = fmt::format("{}.{}", at, field);
      validate_resource_name(str(entry.key()), path, problems);
      const auto quantity = model::Quantity::parse(str(entry.value()));
      const std::string value_path = fmt::format("{}[{}]", path, str(entry.key()));
      if (!quantity.ok()) {
        problems.invalid(value_path, str(entry.value()), quantity.error().message);
      } else if (*quantity < model::Quantity()) {
        problems.invalid(value_path, str(entry.value()), kNotNegative);
      }
    }
  }
  for (uoffset_t i = 0; i < count(resources->requests()); ++i) {
    const auto& request = *resources->requests()->Get(i);
    const auto* limit = model::lookup(resources->limits(), str(request.key()));
    if (limit == nullptr) continue;
    const auto wanted = model::Quantity::parse(str(request.value())), most = model::Quantity::parse(str(limit));
    if (wanted.ok() && most.ok() && *wanted > *most) {
      problems.invalid(at + ".requests", str(request.value()),
                       fmt::format("must be less than or equal to {} limit of {}", str(request.key()), str(limit)));
    }
  }
}

void validate_port_reference(const api::meta_v1::IntOrString* port, const std::string& at, Problems& problems) {
  if (port == nullptr) return problems.required(at);
  if (port->int_value()) {
    if (!port_ok(*port->int_value())) problems.invalid(at, *port->int_value(), kPortRange);
  } else {
    problems.check(at, str(port->str_value()), model::check_port_name(str(port->str_value())));
  }
}

// An action of a probe or a hook; at least one and at most one.
template <typename Handler>
int validate_handler(const Handler& handler, const std::string& at, Problems& problems) {
  int handlers = 0;
  const auto one = [&](const char* field) {
    if (++handlers > 1) problems.forbidden(fmt::format("{}.{}", at, field), "may not specify more than 1 handler type");
  };
  if (handler.exec() != nullptr) {
    one("exec");
    if (count(handler.exec()->command()) == 0) problems.required(at + ".exec.command");
  }
  if (handler.http_get() != nullptr) {
    one("httpGet");
    validate_port_reference(handler.http_get()->port(), at + ".httpGet.port", problems);
    const std::string_view scheme = str(handler.http_get()->scheme());
    if (scheme != "HTTP" && scheme != "HTTPS") problems.unsupported(at + ".httpGet.scheme", scheme, {"HTTP", "HTTPS"});
  }
  if (handler.tcp_socket() != nullptr) {
    one("tcpSocket");
    validate_port_reference(handler.tcp_socket()->port(), at + ".tcpSocket.port", problems);
  }
  return handlers;
}

void validate_probe(const core::Probe* probe, const std::string& at, bool once, Problems& problems) {
  if (probe == nullptr) return;
  int handlers = validate_handler(*probe, at, problems);
  if (probe->grpc() != nullptr) {
    if (++handlers > 1) problems.forbidden(at + ".grpc", "may not specify more than 1 handler type");
    if (!port_ok(probe->grpc()->port().value_or(0)))
      problems.invalid(at + ".grpc.port", probe->grpc()->port().value_or(0), kPortRange);
  }
  if (handlers == 0) problems.required(at, "must specify a handler type");
  const auto not_negative = [&](const char* field, auto value) {
    if (value.value_or(0) < 0) problems.invalid(fmt::format("{}.{}", at, field), *value, kNotNegative);
  };
  not_negative("initialDelaySeconds", probe->initial_delay_seconds());
  not_negative("timeoutSeconds", probe->timeout_seconds());
  not_negative("periodSeconds", probe->period_seconds());
  not_negative("successThreshold", probe->success_threshold());
  not_negative("failureThreshold", probe->failure_threshold());
  if (once && probe->success_threshold().value_or(1) != 1)
    problems.invalid(at + ".successThreshold", *probe->success_threshold(), "must be 1");
}

void validate_mounts(const core::Container& c, const std::string& at, const Seen& seen, Problems& problems) {
  std::set<std::string_view> paths;
  for (uoffset_t i = 0; i < count(c.volume_mounts()); ++i) {
    const auto& mount = *c.volume_mounts()->Get(i);
    const std::string path = fmt::format("{}.volumeMounts[{}]", at, i);
    if (str(mount.name()).empty()) {
      problems.required(path + ".name");
    } else if (!seen.volumes.contains(str(mount.name()))) {
      problems.not_found(path + ".name", str(mount.name()));
    }
    if (str(mount.mount_path()).empty()) {
      problems.required(path + ".mountPath");
    } else if (!paths.insert(str(mount.mount_path())).second) {
      problems.invalid(path + ".mountPath", str(mount.mount_path()), "must be unique");
    }
    if (str(mount.sub_path()).starts_with("/"))
      problems.invalid(path + ".subPath", str(mount.sub_path()), "must be a relative path");
  }
}

void validate_container(const core::Container& c, const std::string& at, bool init, Seen& seen, Problems& problems) {
  if (str(c.name()).empty()) {
    problems.required(at + ".name");
  } else {
    problems.check(at + ".name", str(c.name()), model::check_dns_label(str(c.name())));
    if (!seen.names.insert(str(c.name())).second) problems.duplicate(at + ".name", str(c.name()));
  }
  const std::string_view image = str(c.image());
  if (image.empty()) {
    problems.required(at + ".image");
  } else if (image.front() == ' ' || image.back() == ' ') {
    problems.invalid(at + ".image", image, "must not have leading or trailing whitespace");
  }
  const std::string_view pull = str(c.image_pull_policy());
  if (pull != "Always" && pull != "IfNotPresent" && pull != "Never") {
    problems.unsupported(at + ".imagePullPolicy", pull, {"Always", "IfNotPresent", "Never"});
  }
  validate_ports(c, at, seen, problems);
  validate_env(c, at, problems);
  validate_resources(c.resources(), at + ".resources", problems);
  validate_mounts(c, at, seen, problems);
  if (init && str(c.restart_policy()) != "Always" &&
      (c.liveness_probe() != nullptr || c.readiness_probe() != nullptr || c.startup_probe() != nullptr)) {
    problems.forbidden(at, "probes may not be set for init containers without restartPolicy=Always");
  }
  validate_probe(c.liveness_probe(), at + ".livenessProbe", true, problems);
  validate_probe(c.readiness_probe(), at + ".readinessProbe", false, problems);
  validate_probe(c.startup_probe(), at + ".startupProbe", true, problems);
  if (c.lifecycle() == nullptr) return;
  const auto hook = [&](const core::LifecycleHandler* handler, const char* field) {
    if (handler == nullptr) return;
    const std::string path = fmt::format("{}.lifecycle.{}", at, field);
    if (validate_handler(*handler, path, problems) == 0 && handler->sleep() == nullptr)
      problems.required(path, "must specify a handler type");
  };
  hook(c.lifecycle()->post_start(), "postStart");
  hook(c.lifecycle()->pre_stop(), "preStop");
}

}  // namespace

void validate_containers(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  Seen seen;
  for (uoffset_t i = 0; i < count(spec.volumes()); ++i) seen.volumes.insert(str(spec.volumes()->Get(i)->name()));
  if (count(spec.containers()) == 0) problems.required(at + ".containers");
  for (uoffset_t i = 0; i < count(spec.containers()); ++i) {
    validate_container(*spec.containers()->Get(i), fmt::format("{}.containers[{}]", at, i), false, seen, problems);
  }
  seen.host_ports.clear();  // init containers are gone when the others start
  for (uoffset_t i = 0; i < count(spec.init_containers()); ++i) {
    validate_container(*spec.init_containers()->Get(i), fmt::format("{}.initContainers[{}]", at, i), true, seen,
                       problems);
  }
}

}  // namespace gantry::apigw

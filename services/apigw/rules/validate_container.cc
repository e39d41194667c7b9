#include <fmt/format.h>

#include <map>
#include <set>

#include "libs/model/names.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;
using flatbuffers::uoffset_t;

bool port_ok(int64_t port) { return port >= 1 && port <= 65535; }

enum class Role : uint8_t { kMain, kInit, kSidecar, kEphemeral };

struct Seen {
  std::set<std::string_view> names, claims;
  std::map<std::string_view, bool> volumes;  // by name: whether it may be a block device
  std::set<std::string> host_ports;
  bool host_network = false;
  int64_t grace = 30;
};

template <typename C>
void validate_ports(const C& c, const std::string& at, Seen& seen, Problems& problems) {
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
    if (seen.host_network && host != number && port_ok(number))
      problems.invalid(path + ".containerPort", number, "must match `hostPort` when `hostNetwork` is true");
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
  if (from.field_ref() != nullptr) ++sources;
  if (from.resource_field_ref() != nullptr) ++sources;
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

template <typename C>
void validate_env(const C& c, const std::string& at, Problems& problems) {
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

/// A whole number of things that are not shared: what the node's devices offer.
bool countable(std::string_view name) {
  return name.starts_with("hugepages-") ||
         (name.find('/') != std::string_view::npos && name.substr(0, name.find('/')) != "kubernetes.io");
}

void validate_quantity(std::string_view name, std::string_view text, const std::string& at, Problems& problems) {
  const auto quantity = model::Quantity::parse(text);
  if (!quantity.ok()) return problems.invalid(at, text, quantity.error().message);
  if (*quantity < model::Quantity()) return problems.invalid(at, text, kNotNegative);
  if (countable(name) && *quantity != model::Quantity::from_value(quantity->value()))
    problems.invalid(at, text, "must be an integer");
}

void validate_resources(const core::ResourceRequirements* resources, const std::string& at, const Seen& seen,
                        Problems& problems) {
  if (resources == nullptr) return;
  for (const auto& [list, field] :
       {std::pair{resources->limits(), "limits"}, std::pair{resources->requests(), "requests"}}) {
    const std::string path = fmt::format("{}.{}", at, field);
    for (uoffset_t i = 0; i < count(list); ++i) {
      const auto& entry = *list->Get(i);
      validate_resource_name(str(entry.key()), path, problems);
      validate_quantity(str(entry.key()), str(entry.value()), fmt::format("{}[{}]", path, str(entry.key())), problems);
    }
  }
  for (uoffset_t i = 0; i < count(resources->requests()); ++i) {
    const auto& request = *resources->requests()->Get(i);
    const auto* limit = model::lookup(resources->limits(), str(request.key()));
    const bool whole = countable(str(request.key()));
    if (limit == nullptr) {
      if (whole) problems.required(at + ".limits", "Limit must be set for non overcommitable resources");
      continue;
    }
    const auto wanted = model::Quantity::parse(str(request.value())), most = model::Quantity::parse(str(limit));
    if (!wanted.ok() || !most.ok()) continue;
    if (whole && *wanted != *most) {
      problems.invalid(at + ".requests", str(request.value()),
                       fmt::format("must be equal to {} limit of {}", str(request.key()), str(limit)));
    } else if (*wanted > *most) {
      problems.invalid(at + ".requests", str(request.value()),
                       fmt::format("must be less than or equal to {} limit of {}", str(request.key()), str(limit)));
    }
  }
  std::set<std::pair<std::string_view, std::string_view>> claims;
  for (uoffset_t i = 0; i < count(resources->claims()); ++i) {
    const auto& claim = *resources->claims()->Get(i);
    const std::string path = fmt::format("{}.claims[{}]", at, i);
    if (str(claim.name()).empty()) continue;
    if (!claims.insert({str(claim.name()), str(claim.request())}).second) problems.duplicate(path, str(claim.name()));
    if (!seen.claims.contains(str(claim.name()))) problems.not_found(path, str(claim.name()));
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
  if (!probe->termination_grace_period_seconds()) return;
  const std::string grace = at + ".terminationGracePeriodSeconds";
  if (!once) {
    problems.invalid(grace, *probe->termination_grace_period_seconds(), "must not be set for readinessProbes");
  } else if (*probe->termination_grace_period_seconds() <= 0) {
    problems.invalid(grace, *probe->termination_grace_period_seconds(), "must be greater than 0");
  }
}

template <typename C>
void validate_mounts(const C& c, const std::string& at, Role role, const Seen& seen, Problems& problems) {
  std::set<std::string_view> paths, devices;
  const bool privileged = c.security_context() != nullptr && c.security_context()->privileged().value_or(false);
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
    if (!str(mount.sub_path()).empty() && !str(mount.sub_path_expr()).empty())
      problems.invalid(path + ".subPathExpr", str(mount.sub_path_expr()),
                       "subPathExpr and subPath are mutually exclusive");
    if (role == Role::kEphemeral && !str(mount.sub_path()).empty())
      problems.forbidden(path + ".subPath", "cannot be set for an Ephemeral Container");
    const std::string_view propagation = str(mount.mount_propagation());
    if (propagation == "Bidirectional" && !privileged)
      problems.forbidden(path + ".mountPropagation",
                         "Bidirectional mount propagation is available only to privileged containers");
    const std::string_view recursive = str(mount.recursive_read_only());
    if (!one_of(recursive, {"Enabled", "IfPossible"})) continue;
    if (!mount.read_only().value_or(false))
      problems.forbidden(path + ".recursiveReadOnly", "may only be specified when readOnly is true");
    if (!one_of(propagation, {"", "None"}))
      problems.forbidden(path + ".recursiveReadOnly",
                         "may only be specified when mountPropagation is None or not specified");
  }
  for (uoffset_t i = 0; i < count(c.volume_devices()); ++i) {
    const auto& device = *c.volume_devices()->Get(i);
    const std::string path = fmt::format("{}.volumeDevices[{}]", at, i);
    const auto volume = seen.volumes.find(str(device.name()));
    if (!str(device.name()).empty() && volume == seen.volumes.end()) {
      problems.not_found(path + ".name", str(device.name()));
    } else if (volume != seen.volumes.end() && !volume->second) {
      problems.invalid(path + ".name", str(device.name()),
                       "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    }
    if (str(device.device_path()).empty()) continue;
    if (!devices.insert(str(device.device_path())).second)
      problems.invalid(path + ".devicePath", str(device.device_path()), "must be unique");
    if (paths.contains(str(device.device_path())))
      problems.invalid(path + ".devicePath", str(device.device_path()),
                       "must not already exist as a path in volumeMounts");
  }
}

template <typename C>
void validate_lifecycle(const C& c, const std::string& at, const Seen& seen, Problems& problems) {
  if (c.lifecycle() == nullptr) return;
  const auto hook = [&](const core::LifecycleHandler* handler, const char* field) {
    if (handler == nullptr) return;
    const std::string path = fmt::format("{}.lifecycle.{}", at, field);
    int handlers = validate_handler(*handler, path, problems);
    if (handler->sleep() != nullptr) {
      if (++handlers > 1) problems.forbidden(path + ".sleep", "may not specify more than 1 handler type");
      const int64_t seconds = handler->sleep()->seconds().value_or(0);
      if (seconds < 0 || seconds > seen.grace)
        problems.invalid(
            path + ".sleep.seconds", seconds,
            fmt::format("must be non-negative and less than terminationGracePeriodSeconds ({})", seen.grace));
    }
    if (handlers == 0) problems.required(path, "must specify a handler type");
  };
  hook(c.lifecycle()->post_start(), "postStart");
  hook(c.lifecycle()->pre_stop(), "preStop");
}

template <typename C>
void validate_resize_policy(const C& c, const std::string& at, Problems& problems) {
  std::set<std::string_view> names;
  for (uoffset_t i = 0; i < count(c.resize_policy()); ++i) {
    const std::string_view name = str(c.resize_policy()->Get(i)->resource_name());
    if (!name.empty() && !names.insert(name).second)
      problems.duplicate(fmt::format("{}.resizePolicy[{}]", at, i), name);
  }
}

// When a container starts again by a rule of its own (ContainerRestartRules).
template <typename C>
void validate_restarts(const C& c, const std::string& at, Problems& problems) {
  constexpr size_t kMostRules = 20, kMostCodes = 255;
  const std::string_view restart = str(c.restart_policy());
  const auto n = count(c.restart_policy_rules());
  if (c.restart_policy() != nullptr && restart != "Always" && restart != "OnFailure" && restart != "Never")
    problems.unsupported(at + ".restartPolicy", restart, {"Always", "Never", "OnFailure"});
  if (n > 0 && c.restart_policy() == nullptr)
    problems.required(at + ".restartPolicy", "must specify restartPolicy when restart rules are used");
  if (n > kMostRules) problems.too_many(at + ".restartPolicyRules", n, kMostRules);
  for (uoffset_t i = 0; i < n; ++i) {
    const auto& rule = *c.restart_policy_rules()->Get(i);
    const auto where = fmt::format("{}.restartPolicyRules[{}]", at, i);
    if (str(rule.action()) != "Restart") problems.unsupported(where + ".action", str(rule.action()), {"Restart"});
    const auto* codes = rule.exit_codes();
    if (codes == nullptr) {
      problems.required(where + ".exitCodes", "must be specified");
      continue;
    }
    if (str(codes->operator_()) != "In" && str(codes->operator_()) != "NotIn")
      problems.unsupported(where + ".exitCodes.operator", str(codes->operator_()), {"In", "NotIn"});
    if (count(codes->values()) == 0) problems.required(where + ".exitCodes.values", "must have at least one value");
    if (count(codes->values()) > kMostCodes)
      problems.too_many(where + ".exitCodes.values", count(codes->values()), kMostCodes);
  }
}

// What only a container that runs on and on may have.
template <typename C>
void validate_role(const C& c, const std::string& at, Role role, Problems& problems) {
  const bool rules = count(c.restart_policy_rules()) > 0;
  if (role != Role::kEphemeral) validate_restarts(c, at, problems);
  const auto forbid = [&](bool set, const char* field, const char* detail) {
    if (set) problems.forbidden(fmt::format("{}.{}", at, field), detail);
  };
  if (role == Role::kInit) {
    constexpr const char* kDetail = "may not be set for init containers without restartPolicy=Always";
    forbid(c.lifecycle() != nullptr, "lifecycle", kDetail);
    forbid(c.liveness_probe() != nullptr, "livenessProbe", kDetail);
    forbid(c.readiness_probe() != nullptr, "readinessProbe", kDetail);
    forbid(c.startup_probe() != nullptr, "startupProbe", kDetail);
  }
  if (role == Role::kEphemeral) {
    constexpr const char* kDetail = "cannot be set for an Ephemeral Container";
    forbid(c.lifecycle() != nullptr, "lifecycle", kDetail);
    forbid(c.liveness_probe() != nullptr, "livenessProbe", kDetail);
    forbid(c.readiness_probe() != nullptr, "readinessProbe", kDetail);
    forbid(c.startup_probe() != nullptr, "startupProbe", kDetail);
    forbid(count(c.ports()) > 0, "ports", kDetail);
    const auto* resources = c.resources();
    forbid(resources != nullptr &&
               (count(resources->limits()) > 0 || count(resources->requests()) > 0 || count(resources->claims()) > 0),
           "resources", kDetail);
    forbid(count(c.resize_policy()) > 0, "resizePolicy", kDetail);
    forbid(c.restart_policy() != nullptr, "restartPolicy", kDetail);
    forbid(rules, "restartPolicyRules", kDetail);
  }
}

template <typename C>
void validate_container(const C& c, const std::string& at, Role role, Seen& seen, Problems& problems) {
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
  validate_env(c, at, problems);
  validate_mounts(c, at, role, seen, problems);
  validate_role(c, at, role, problems);
  if (role == Role::kEphemeral) return;
  validate_ports(c, at, seen, problems);
  validate_resources(c.resources(), at + ".resources", seen, problems);
  validate_resize_policy(c, at, problems);
  if (role == Role::kInit) return;
  validate_probe(c.liveness_probe(), at + ".livenessProbe", true, problems);
  validate_probe(c.readiness_probe(), at + ".readinessProbe", false, problems);
  validate_probe(c.startup_probe(), at + ".startupProbe", true, problems);
  validate_lifecycle(c, at, seen, problems);
}

}  // namespace

void validate_containers(const core::PodSpec& spec, const std::string& at, Problems& problems,
                         const std::vector<std::string_view>& claims) {
  Seen seen;
  seen.host_network = spec.host_network().value_or(false);
  seen.grace = spec.termination_grace_period_seconds().value_or(30);
  for (uoffset_t i = 0; i < count(spec.volumes()); ++i) {
    const auto& volume = *spec.volumes()->Get(i);
    seen.volumes.emplace(str(volume.name()),
                         volume.persistent_volume_claim() != nullptr || volume.ephemeral() != nullptr);
  }
  for (const auto claim : claims) seen.volumes.emplace(claim, true);
  for (uoffset_t i = 0; i < count(spec.resource_claims()); ++i)
    seen.claims.insert(str(spec.resource_claims()->Get(i)->name()));
  if (count(spec.containers()) == 0) problems.required(at + ".containers");
  for (uoffset_t i = 0; i < count(spec.containers()); ++i) {
    validate_container(*spec.containers()->Get(i), fmt::format("{}.containers[{}]", at, i), Role::kMain, seen,
                       problems);
  }
  const std::set<std::string_view> main = seen.names;
  seen.host_ports.clear();  // init containers are gone when the others start
  for (uoffset_t i = 0; i < count(spec.init_containers()); ++i) {
    const auto& c = *spec.init_containers()->Get(i);
    validate_container(c, fmt::format("{}.initContainers[{}]", at, i),
                       str(c.restart_policy()) == "Always" ? Role::kSidecar : Role::kInit, seen, problems);
  }
  for (uoffset_t i = 0; i < count(spec.ephemeral_containers()); ++i) {
    const auto& c = *spec.ephemeral_containers()->Get(i);
    const std::string path = fmt::format("{}.ephemeralContainers[{}]", at, i);
    validate_container(c, path, Role::kEphemeral, seen, problems);
    const std::string_view target = str(c.target_container_name());
    if (!target.empty() && !main.contains(target)) problems.not_found(path + ".targetContainerName", target);
  }
}

}  // namespace gantry::apigw

#include "services/nodeagent/render/configs.h"

#include <fmt/format.h>

#include "libs/model/quantity.h"
#include "services/nodeagent/pod/status_value.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr int64_t kCpuPeriod = 100'000;  // microseconds
constexpr size_t kMaxHostname = 63;

template <typename Optional>
std::optional<int64_t> number(Optional v) {
  return v.has_value() ? std::optional<int64_t>(*v) : std::nullopt;
}

SeccompProfile seccomp(const core::SeccompProfile* profile, const NodeContext& node) {
  if (profile == nullptr) return {};
  auto type = str(profile->type());
  if (type == "RuntimeDefault") return {Seccomp::kDefault, ""};
  if (type == "Localhost")
    return {Seccomp::kLocalhost, node.seccomp_root + "/" + std::string(str(profile->localhost_profile()))};
  return {};
}

DnsSettings dns(const core::PodSpec& spec, std::string_view ns, const NodeContext& node) {
  auto policy = str(spec.dns_policy());
  bool host_network = spec.host_network().value_or(false);
  DnsSettings out;
  bool cluster = policy == "ClusterFirstWithHostNet" || ((policy.empty() || policy == "ClusterFirst") && !host_network);
  if (cluster && !node.cluster_dns.empty()) {
    const auto& domain = node.cluster_domain;
    out.servers = {node.cluster_dns};
    out.searches = {fmt::format("{}.svc.{}", ns, domain), "svc." + domain, domain};
    out.searches.insert(out.searches.end(), node.host_dns.searches.begin(), node.host_dns.searches.end());
    out.options = {"ndots:5"};
  } else if (policy != "None") {
    out = node.host_dns;
  }
  if (const auto* config = spec.dns_config()) {
    auto append = [](std::vector<std::string>& to, const auto* from) {
      if (from == nullptr) return;
      for (const auto* s : *from) {
        if (std::find(to.begin(), to.end(), str(s)) == to.end()) to.emplace_back(str(s));
      }
    };
    append(out.servers, config->nameservers());
    append(out.searches, config->searches());
    if (config->options()) {
      for (const auto* o : *config->options()) {
        auto name = std::string(str(o->name()));
        auto is_same = [&](const std::string& s) { return s == name || s.rfind(name + ":", 0) == 0; };
        out.options.erase(std::remove_if(out.options.begin(), out.options.end(), is_same), out.options.end());
        out.options.push_back(str(o->value()).empty() ? name : fmt::format("{}:{}", name, str(o->value())));
      }
    }
  }
  return out;
}

int64_t quantity(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* map, const char* name,
                 bool milli) {
  const auto* text = map ? model::lookup(map, name) : nullptr;
  auto value = text ? model::Quantity::parse(str(text)) : Result<model::Quantity>(model::Quantity());
  if (!value.ok()) return 0;
  return milli ? value->milli() : value->value();
}

void set_resources(const core::Pod& pod, const core::Container& container, const NodeContext& node,
                   ContainerConfig& out) {
  const auto* r = container.resources();
  const auto* limits = r ? r->limits() : nullptr;
  const auto* requests = r && r->requests() ? r->requests() : nullptr;
  auto cpu_limit = quantity(limits, "cpu", true);
  auto cpu_request = requests && model::lookup(requests, "cpu") ? quantity(requests, "cpu", true) : cpu_limit;
  auto memory_limit = quantity(limits, "memory", false);
  auto memory_request =
      requests && model::lookup(requests, "memory") ? quantity(requests, "memory", false) : memory_limit;
  out.cpu_shares = std::max<int64_t>(2, cpu_request * 1024 / 1000);
  if (cpu_limit > 0) {
    out.cpu_period = kCpuPeriod;
    out.cpu_quota = std::max<int64_t>(1'000, cpu_limit * kCpuPeriod / 1000);
  }
  out.memory_limit = memory_limit;
  auto qos = qos_class(*pod.spec());
  if (qos == "Guaranteed") {
    out.oom_score_adj = -997;
  } else if (qos == "BestEffort" || node.memory_bytes == 0) {
    out.oom_score_adj = 1000;
  } else {
    out.oom_score_adj = std::clamp<int64_t>(1000 - 1000 * memory_request / node.memory_bytes, 2, 999);
  }
}

Status set_security(const core::Pod& pod, const core::Container& container, const NodeContext& node,
                    ContainerConfig& out) {
  const auto* p = pod.spec()->security_context();
  const auto* c = container.security_context();
  if (p) {
    out.run_as_user = number(p->run_as_user());
    out.run_as_group = number(p->run_as_group());
    if (p->supplemental_groups())
      out.supplemental_groups.assign(p->supplemental_groups()->begin(), p->supplemental_groups()->end());
    if (p->fs_group().has_value()) out.supplemental_groups.push_back(*p->fs_group());
    out.seccomp = seccomp(p->seccomp_profile(), node);
  }
  bool non_root = p && p->run_as_non_root().value_or(false);
  if (c) {
    if (c->run_as_user().has_value()) out.run_as_user = *c->run_as_user();
    if (c->run_as_group().has_value()) out.run_as_group = *c->run_as_group();
    if (c->seccomp_profile()) out.seccomp = seccomp(c->seccomp_profile(), node);
    out.privileged = c->privileged().value_or(false);
    out.readonly_rootfs = c->read_only_root_filesystem().value_or(false);
    out.no_new_privs = !c->allow_privilege_escalation().value_or(true);
    non_root = c->run_as_non_root().value_or(non_root);
    if (const auto* caps = c->capabilities()) {
      auto copy = [](const auto* from, std::vector<std::string>& to) {
        if (from == nullptr) return;
        for (const auto* s : *from) to.emplace_back(str(s));
      };
      copy(caps->add(), out.add_capabilities);
      copy(caps->drop(), out.drop_capabilities);
    }
  }
  if (non_root && out.run_as_user == 0) {
    return Error{Code::kInvalid,
                 fmt::format("container's runAsUser breaks non-root policy (pod: \"{}_{}\", container: {})",
                             str(pod.metadata()->name()), str(pod.metadata()->namespace_()), out.name)};
  }
  // CRI takes a group only beside a user.
  if (out.run_as_group && !out.run_as_user) out.run_as_user = 0;
  return Done{};
}

// $(NAME) in subPathExpr must be there: part of a path that is missing would name another file.
Result<std::string> sub_path(const core::VolumeMount& mount, const Env& env) {
  if (str(mount.sub_path_expr()).empty()) return std::string(str(mount.sub_path()));
  auto expanded = expand(str(mount.sub_path_expr()), env);
  const auto unknown = expanded.find("$(");
  if (unknown != std::string::npos && str(mount.sub_path_expr()).find("$$(") == std::string_view::npos) {
    return Error{Code::kInvalid,
                 fmt::format("cannot expand subPathExpr \"{}\" of volumeMount \"{}\": missing value for \"{}\"",
                             str(mount.sub_path_expr()), str(mount.name()),
                             expanded.substr(unknown + 2, expanded.find(')', unknown) - unknown - 2))};
  }
  if (expanded.empty())
    return Error{Code::kInvalid, fmt::format("subPathExpr \"{}\" of volumeMount \"{}\" is empty",
                                             str(mount.sub_path_expr()), str(mount.name()))};
  return expanded;
}

Status set_devices(const core::Container& container, const std::vector<VolumePlan>& volumes, ContainerConfig& out) {
  if (container.volume_devices() == nullptr) return Done{};
  for (const auto* d : *container.volume_devices()) {
    auto volume =
        std::find_if(volumes.begin(), volumes.end(), [&](const VolumePlan& v) { return v.name == str(d->name()); });
    if (volume == volumes.end() || !volume->block) {
      return Error{Code::kInvalid, fmt::format("volume {} has volumeMode Filesystem, but is specified in volumeDevices",
                                               str(d->name()))};
    }
    out.devices.push_back({std::string(str(d->device_path())), volume->path, volume->read_only});
  }
  return Done{};
}

Status set_mounts(const core::Pod& pod, const core::Container& container, const NodeContext& node,
                  const std::vector<VolumePlan>& volumes, ContainerConfig& out) {
  auto uid = str(pod.metadata()->uid());
  bool own_hosts = false;
  if (container.volume_mounts()) {
    for (const auto* m : *container.volume_mounts()) {
      auto volume =
          std::find_if(volumes.begin(), volumes.end(), [&](const VolumePlan& v) { return v.name == str(m->name()); });
      if (volume == volumes.end())
        return Error{Code::kInvalid, fmt::format("volume \"{}\" of the mount at {} is not in the pod", str(m->name()),
                                                 str(m->mount_path()))};
      if (volume->block) {
        return Error{Code::kInvalid,
                     fmt::format("volume {} has volumeMode Block, but is specified in volumeMounts", volume->name)};
      }
      Mount mount{std::string(str(m->mount_path())), volume->path, m->read_only().value_or(false) || volume->read_only,
                  Propagation::kPrivate, volume->name};
      if (auto part = sub_path(*m, out.env); part.ok()) {
        mount.sub_path = std::move(*part);
      } else {
        return part.error();
      }
      const auto recursive = str(m->recursive_read_only());
      mount.recursive_readonly = mount.readonly && (recursive == "Enabled" || recursive == "IfPossible");
      if (!mount.sub_path.empty() || mount.recursive_readonly)
        mount.staged_path = node.paths.part(uid, out.name, out.mounts.size());
      auto propagation = str(m->mount_propagation());
      if (propagation == "HostToContainer") mount.propagation = Propagation::kHostToContainer;
      if (propagation == "Bidirectional") mount.propagation = Propagation::kBidirectional;
      own_hosts |= mount.container_path == "/etc/hosts";
      out.mounts.push_back(std::move(mount));
    }
  }
  if (!own_hosts && !pod.spec()->host_network().value_or(false))
    out.mounts.push_back({"/etc/hosts", node.paths.hosts(uid), false, Propagation::kPrivate});
  auto termination = str(container.termination_message_path()).empty()
                         ? std::string("/dev/termination-log")
                         : std::string(str(container.termination_message_path()));
  auto file = node.paths.termination_log(uid, out.name, out.attempt);
  out.mounts.push_back({termination, file, false, Propagation::kPrivate});
  out.annotations[kTerminationPathAnnotation] = file;
  out.annotations[kTerminationPolicyAnnotation] = str(container.termination_message_policy());
  return Done{};
}

StringMap pod_labels(const core::Pod& pod) {
  StringMap labels;
  if (pod.metadata()->labels()) {
    for (const auto* l : *pod.metadata()->labels()) labels[std::string(str(l->key()))] = str(l->value());
  }
  labels[kPodNameLabel] = str(pod.metadata()->name());
  labels[kPodNamespaceLabel] = str(pod.metadata()->namespace_());
  labels[kPodUidLabel] = str(pod.metadata()->uid());
  return labels;
}

}  // namespace

SandboxConfig render_sandbox(const core::Pod& pod, const NodeContext& node, uint32_t attempt) {
  const auto& meta = *pod.metadata();
  const auto& spec = *pod.spec();
  SandboxConfig out;
  out.name = str(meta.name());
  out.ns = str(meta.namespace_());
  out.uid = str(meta.uid());
  out.attempt = attempt;
  out.host_network = spec.host_network().value_or(false);
  out.hostname = out.host_network               ? node.node
                 : str(spec.hostname()).empty() ? out.name
                                                : std::string(str(spec.hostname()));
  if (out.hostname.size() > kMaxHostname) out.hostname.resize(kMaxHostname);
  while (!out.hostname.empty() && (out.hostname.back() == '-' || out.hostname.back() == '.')) out.hostname.pop_back();
  out.log_directory = node.paths.logs(out.ns, out.name, out.uid);
  out.cgroup_parent = node.cgroup_parent;
  auto names = dns(spec, out.ns, node);
  out.dns_servers = std::move(names.servers);
  out.dns_searches = std::move(names.searches);
  out.dns_options = std::move(names.options);
  if (!out.host_network) {
    for (const auto* list : {spec.containers(), spec.init_containers()}) {
      if (list == nullptr) continue;
      for (const auto* c : *list) {
        if (c->ports() == nullptr || (list == spec.init_containers() && str(c->restart_policy()) != "Always")) continue;
        for (const auto* p : *c->ports()) {
          if (p->host_port().value_or(0) == 0) continue;
          out.ports.push_back({std::string(str(p->protocol())), p->container_port().value_or(0),
                               p->host_port().value_or(0), std::string(str(p->host_ip()))});
        }
      }
    }
  }
  out.labels = pod_labels(pod);
  out.annotations[kGracePeriodAnnotation] = std::to_string(spec.termination_grace_period_seconds().value_or(30));
  out.host_pid = spec.host_pid().value_or(false);
  out.host_ipc = spec.host_ipc().value_or(false);
  out.share_pid = spec.share_process_namespace().value_or(false);
  if (spec.containers()) {
    for (const auto* c : *spec.containers())
      out.privileged |= c->security_context() && c->security_context()->privileged().value_or(false);
  }
  if (const auto* sc = spec.security_context()) {
    if (sc->supplemental_groups())
      out.supplemental_groups.assign(sc->supplemental_groups()->begin(), sc->supplemental_groups()->end());
    out.seccomp = seccomp(sc->seccomp_profile(), node);
    if (sc->sysctls()) {
      for (const auto* s : *sc->sysctls()) out.sysctls[std::string(str(s->name()))] = str(s->value());
    }
  }
  return out;
}

Result<ContainerConfig> render_container(const core::Pod& pod, const core::Container& container, uint32_t attempt,
                                         const NodeContext& node, const std::vector<std::string>& pod_ips,
                                         const std::vector<VolumePlan>& volumes, const FindReference& find) {
  ContainerConfig out;
  out.name = str(container.name());
  out.attempt = attempt;
  out.image = str(container.image());
  auto env = render_env(pod, container, node, pod_ips, find);
  if (!env.ok()) return env.error();
  out.env = std::move(*env);
  if (container.command()) {
    for (const auto* word : *container.command()) out.command.push_back(expand(str(word), out.env));
  }
  if (container.args()) {
    for (const auto* word : *container.args()) out.args.push_back(expand(str(word), out.env));
  }
  out.working_dir = str(container.working_dir());
  out.labels = {{kPodNameLabel, std::string(str(pod.metadata()->name()))},
                {kPodNamespaceLabel, std::string(str(pod.metadata()->namespace_()))},
                {kPodUidLabel, std::string(str(pod.metadata()->uid()))},
                {kContainerNameLabel, out.name}};
  out.log_path = fmt::format("{}/{}.log", out.name, attempt);
  out.in = container.stdin().value_or(false);
  out.stdin_once = container.stdin_once().value_or(false);
  out.tty = container.tty().value_or(false);
  set_resources(pod, container, node, out);
  if (auto s = set_security(pod, container, node, out); !s.ok()) return s.error();
  if (auto s = set_mounts(pod, container, node, volumes, out); !s.ok()) return s.error();
  if (auto s = set_devices(container, volumes, out); !s.ok()) return s.error();
  return out;
}

std::string pull_policy(const core::Container& container) {
  if (auto policy = str(container.image_pull_policy()); !policy.empty()) return std::string(policy);
  auto image = str(container.image());
  auto slash = image.rfind('/');
  auto colon = image.rfind(':');
  bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  return !tagged || image.substr(colon) == ":latest" ? "Always" : "IfNotPresent";
}

}  // namespace gantry::nodeagent

#include "services/nodeagent/cri/convert.h"

namespace gantry::nodeagent::cri {

namespace v1 = runtime::v1;

namespace {

template <typename Map>
void copy_map(const StringMap& from, Map* to) {
  for (const auto& [key, value] : from) (*to)[key] = value;
}
template <typename Map>
StringMap to_map(const Map& from) {
  return {from.begin(), from.end()};
}

void set_seccomp(const SeccompProfile& profile, v1::SecurityProfile* to) {
  switch (profile.type) {
    case Seccomp::kDefault:
      to->set_profile_type(v1::SecurityProfile::RuntimeDefault);
      break;
    case Seccomp::kUnconfined:
      to->set_profile_type(v1::SecurityProfile::Unconfined);
      break;
    case Seccomp::kLocalhost:
      to->set_profile_type(v1::SecurityProfile::Localhost);
      to->set_localhost_ref(profile.localhost);
      break;
  }
}

void set_namespaces(const SandboxConfig& config, v1::NamespaceOption* to) {
  to->set_network(config.host_network ? v1::NODE : v1::POD);
  to->set_ipc(config.host_ipc ? v1::NODE : v1::POD);
  to->set_pid(config.host_pid ? v1::NODE : config.share_pid ? v1::POD : v1::CONTAINER);
  if (!config.host_users) to->mutable_userns_options()->set_mode(v1::POD);
}

void set_selinux(const SeLinux& from, v1::SELinuxOption* to) {
  to->set_user(from.user);
  to->set_role(from.role);
  to->set_type(from.type);
  to->set_level(from.level);
}

void set_apparmor(const std::string& profile, v1::LinuxContainerSecurityContext* to) {
  if (profile.empty()) return;
  constexpr std::string_view kLocalhost = "localhost/";
  to->set_apparmor_profile(profile);
  auto* typed = to->mutable_apparmor();
  if (profile.starts_with(kLocalhost)) {
    typed->set_profile_type(v1::SecurityProfile::Localhost);
    typed->set_localhost_ref(profile.substr(kLocalhost.size()));
  } else {
    typed->set_profile_type(profile == "unconfined" ? v1::SecurityProfile::Unconfined
                                                    : v1::SecurityProfile::RuntimeDefault);
  }
}

ContainerState to_state(v1::ContainerState state) {
  switch (state) {
    case v1::CONTAINER_CREATED:
      return ContainerState::kCreated;
    case v1::CONTAINER_RUNNING:
      return ContainerState::kRunning;
    case v1::CONTAINER_EXITED:
      return ContainerState::kExited;
    default:
      return ContainerState::kUnknown;
  }
}

}  // namespace

v1::LinuxContainerResources to_proto(const Resources& from) {
  v1::LinuxContainerResources out;
  out.set_cpu_shares(from.cpu_shares);
  out.set_cpu_quota(from.cpu_quota);
  out.set_cpu_period(from.cpu_period);
  out.set_memory_limit_in_bytes(from.memory_limit);
  out.set_oom_score_adj(from.oom_score_adj);
  for (const auto& [size, bytes] : from.hugepages) {
    auto* limit = out.add_hugepage_limits();
    limit->set_page_size(size);
    limit->set_limit(static_cast<uint64_t>(bytes));
  }
  copy_map(from.unified, out.mutable_unified());
  return out;
}

v1::PodSandboxConfig to_proto(const SandboxConfig& config) {
  v1::PodSandboxConfig out;
  auto* metadata = out.mutable_metadata();
  metadata->set_name(config.name);
  metadata->set_namespace_(config.ns);
  metadata->set_uid(config.uid);
  metadata->set_attempt(config.attempt);
  out.set_hostname(config.hostname);
  out.set_log_directory(config.log_directory);
  auto* dns = out.mutable_dns_config();
  for (const auto& s : config.dns_servers) dns->add_servers(s);
  for (const auto& s : config.dns_searches) dns->add_searches(s);
  for (const auto& s : config.dns_options) dns->add_options(s);
  for (const auto& port : config.ports) {
    auto* p = out.add_port_mappings();
    p->set_protocol(port.protocol == "UDP" ? v1::UDP : port.protocol == "SCTP" ? v1::SCTP : v1::TCP);
    p->set_container_port(port.container_port);
    p->set_host_port(port.host_port);
    p->set_host_ip(port.host_ip);
  }
  copy_map(config.labels, out.mutable_labels());
  copy_map(config.annotations, out.mutable_annotations());
  auto* linux_config = out.mutable_linux();
  linux_config->set_cgroup_parent(config.cgroup_parent);
  copy_map(config.sysctls, linux_config->mutable_sysctls());
  auto* security = linux_config->mutable_security_context();
  set_namespaces(config, security->mutable_namespace_options());
  if (config.run_as_user) security->mutable_run_as_user()->set_value(*config.run_as_user);
  if (config.run_as_group) security->mutable_run_as_group()->set_value(*config.run_as_group);
  for (auto group : config.supplemental_groups) security->add_supplemental_groups(group);
  security->set_privileged(config.privileged);
  if (config.strict_groups) security->set_supplemental_groups_policy(v1::Strict);
  set_seccomp(config.seccomp, security->mutable_seccomp());
  if (!config.selinux.empty()) set_selinux(config.selinux, security->mutable_selinux_options());
  *linux_config->mutable_overhead() = to_proto(config.overhead);
  *linux_config->mutable_resources() = to_proto(config.resources);
  return out;
}

v1::ContainerConfig to_proto(const ContainerConfig& config, const SandboxConfig& sandbox) {
  v1::ContainerConfig out;
  out.mutable_metadata()->set_name(config.name);
  out.mutable_metadata()->set_attempt(config.attempt);
  out.mutable_image()->set_image(config.image);
  for (const auto& s : config.command) out.add_command(s);
  for (const auto& s : config.args) out.add_args(s);
  out.set_working_dir(config.working_dir);
  for (const auto& [name, value] : config.env) {
    auto* env = out.add_envs();
    env->set_key(name);
    env->set_value(value);
  }
  for (const auto& mount : config.mounts) {
    auto* m = out.add_mounts();
    m->set_container_path(mount.container_path);
    m->set_host_path(mount.host_path);
    m->set_readonly(mount.readonly);
    m->set_propagation(mount.propagation == Propagation::kBidirectional     ? v1::PROPAGATION_BIDIRECTIONAL
                       : mount.propagation == Propagation::kHostToContainer ? v1::PROPAGATION_HOST_TO_CONTAINER
                                                                            : v1::PROPAGATION_PRIVATE);
  }
  for (const auto& device : config.devices) {
    auto* d = out.add_devices();
    d->set_container_path(device.container_path);
    d->set_host_path(device.host_path);
    d->set_permissions(device.readonly ? "rm" : "rwm");
  }
  copy_map(config.labels, out.mutable_labels());
  copy_map(config.annotations, out.mutable_annotations());
  out.set_log_path(config.log_path);
  out.set_stdin(config.in);
  out.set_stdin_once(config.stdin_once);
  out.set_tty(config.tty);
  *out.mutable_linux()->mutable_resources() = to_proto(config.resources);
  auto* security = out.mutable_linux()->mutable_security_context();
  set_namespaces(sandbox, security->mutable_namespace_options());
  if (!config.pid_target.empty()) {
    security->mutable_namespace_options()->set_pid(v1::TARGET);
    security->mutable_namespace_options()->set_target_id(config.pid_target);
  }
  security->set_privileged(config.privileged);
  security->set_readonly_rootfs(config.readonly_rootfs);
  security->set_no_new_privs(config.no_new_privs);
  for (const auto& s : config.add_capabilities) security->mutable_capabilities()->add_add_capabilities(s);
  for (const auto& s : config.drop_capabilities) security->mutable_capabilities()->add_drop_capabilities(s);
  if (config.run_as_user) security->mutable_run_as_user()->set_value(*config.run_as_user);
  if (config.run_as_group) security->mutable_run_as_group()->set_value(*config.run_as_group);
  if (!config.run_as_user) security->set_run_as_username(config.run_as_username);
  for (auto group : config.supplemental_groups) security->add_supplemental_groups(group);
  if (config.strict_groups) security->set_supplemental_groups_policy(v1::Strict);
  set_seccomp(config.seccomp, security->mutable_seccomp());
  set_apparmor(config.apparmor, security);
  if (!config.selinux.empty()) set_selinux(config.selinux, security->mutable_selinux_options());
  // What a container should not see of the host's kernel, as every Kubernetes runtime client asks for.
  if (!config.privileged && !config.unmasked_proc) {
    for (const char* path :
         {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}) {
      security->add_masked_paths(path);
    }
    for (const char* path : {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}) {
      security->add_readonly_paths(path);
    }
  }
  return out;
}

Image from_proto(const v1::Image& image) {
  Image out;
  out.id = image.id();
  out.tags.assign(image.repo_tags().begin(), image.repo_tags().end());
  out.digests.assign(image.repo_digests().begin(), image.repo_digests().end());
  out.size = image.size();
  if (image.has_uid()) out.uid = image.uid().value();
  out.username = image.username();
  out.pinned = image.pinned();
  return out;
}

Sandbox from_proto(const v1::PodSandbox& sandbox) {
  Sandbox out;
  out.id = sandbox.id();
  out.name = sandbox.metadata().name();
  out.ns = sandbox.metadata().namespace_();
  out.uid = sandbox.metadata().uid();
  out.attempt = sandbox.metadata().attempt();
  out.ready = sandbox.state() == v1::SANDBOX_READY;
  out.created_at = sandbox.created_at();
  out.labels = to_map(sandbox.labels());
  out.annotations = to_map(sandbox.annotations());
  return out;
}

Container from_proto(const v1::Container& container) {
  Container out;
  out.id = container.id();
  out.sandbox_id = container.pod_sandbox_id();
  out.name = container.metadata().name();
  out.attempt = container.metadata().attempt();
  out.state = to_state(container.state());
  out.created_at = container.created_at();
  out.image = container.image().image();
  out.image_ref = container.image_ref();
  out.labels = to_map(container.labels());
  out.annotations = to_map(container.annotations());
  return out;
}

void merge_status(const v1::ContainerStatus& status, Container& container) {
  container.state = to_state(status.state());
  container.started_at = status.started_at();
  container.finished_at = status.finished_at();
  container.exit_code = status.exit_code();
  container.reason = status.reason();
  container.message = status.message();
  container.log_path = status.log_path();
  if (status.user().has_linux()) {
    const auto& user = status.user().linux();
    container.user =
        ContainerUser{user.uid(), user.gid(), {user.supplemental_groups().begin(), user.supplemental_groups().end()}};
  }
  if (!status.image_ref().empty()) container.image_ref = status.image_ref();
  if (!status.image().image().empty()) container.image = status.image().image();
}

}  // namespace gantry::nodeagent::cri

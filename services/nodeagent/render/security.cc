#include "services/nodeagent/render/security.h"

#include <fmt/format.h>

#include <array>

namespace gantry::nodeagent {

using model::str;

namespace {

template <typename Optional>
std::optional<int64_t> number(Optional v) {
  return v.has_value() ? std::optional<int64_t>(*v) : std::nullopt;
}

std::string apparmor_profile(const core::AppArmorProfile* profile) {
  if (profile == nullptr) return "";
  const auto type = str(profile->type());
  if (type == "RuntimeDefault") return "runtime/default";
  if (type == "Localhost") return "localhost/" + std::string(str(profile->localhost_profile()));
  return "unconfined";
}

void set_capabilities(const core::Capabilities* caps, ContainerConfig& out) {
  if (caps == nullptr) return;
  const auto copy = [](const auto* from, std::vector<std::string>& to) {
    if (from == nullptr) return;
    for (const auto* s : *from) to.emplace_back(str(s));
  };
  copy(caps->add(), out.add_capabilities);
  copy(caps->drop(), out.drop_capabilities);
}

void set_pod_context(const core::PodSecurityContext& p, const NodeContext& node, ContainerConfig& out) {
  out.run_as_user = number(p.run_as_user());
  out.run_as_group = number(p.run_as_group());
  if (p.supplemental_groups())
    out.supplemental_groups.assign(p.supplemental_groups()->begin(), p.supplemental_groups()->end());
  if (p.fs_group().has_value()) out.supplemental_groups.push_back(*p.fs_group());
  out.strict_groups = str(p.supplemental_groups_policy()) == "Strict";
  out.seccomp = render_seccomp(p.seccomp_profile(), node);
  out.apparmor = apparmor_profile(p.app_armor_profile());
  out.selinux = render_selinux(p.se_linux_options());
}

void set_container_context(const core::SecurityContext& c, const NodeContext& node, ContainerConfig& out) {
  if (c.run_as_user().has_value()) out.run_as_user = *c.run_as_user();
  if (c.run_as_group().has_value()) out.run_as_group = *c.run_as_group();
  if (c.seccomp_profile()) out.seccomp = render_seccomp(c.seccomp_profile(), node);
  if (c.app_armor_profile()) out.apparmor = apparmor_profile(c.app_armor_profile());
  if (c.se_linux_options()) out.selinux = render_selinux(c.se_linux_options());
  out.privileged = c.privileged().value_or(false);
  out.readonly_rootfs = c.read_only_root_filesystem().value_or(false);
  // Privileged and CAP_SYS_ADMIN can escalate whatever is said.
  out.no_new_privs = !c.allow_privilege_escalation().value_or(true) && !out.privileged;
  out.unmasked_proc = str(c.proc_mount()) == "Unmasked";
  set_capabilities(c.capabilities(), out);
}

// The image's own user counts when nobody says another.
Status verify_non_root(const core::Pod& pod, const Image* image, const ContainerConfig& out) {
  const auto where = fmt::format("(pod: \"{}_{}({})\", container: {})", str(pod.metadata()->name()),
                                 str(pod.metadata()->namespace_()), str(pod.metadata()->uid()), out.name);
  if (out.run_as_user) {
    if (*out.run_as_user != 0) return Done{};
    return Error{Code::kInvalid, "container's runAsUser breaks non-root policy " + where};
  }
  if (image == nullptr) return Done{};
  if (!image->username.empty()) {
    return Error{Code::kInvalid,
                 fmt::format("container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is "
                             "non-root {}",
                             image->username, where)};
  }
  if (image->uid.value_or(0) == 0)
    return Error{Code::kInvalid, "container has runAsNonRoot and image will run as root " + where};
  return Done{};
}

struct SysctlGroup {
  std::string_view prefix;
  enum : uint8_t { kIpc, kNet } kind;
};
// What the kernel keeps for each namespace; others would be the whole machine's.
constexpr std::array kNamespaced = {
    SysctlGroup{"kernel.shm", SysctlGroup::kIpc}, SysctlGroup{"kernel.msg", SysctlGroup::kIpc},
    SysctlGroup{"kernel.sem", SysctlGroup::kIpc}, SysctlGroup{"fs.mqueue.", SysctlGroup::kIpc},
    SysctlGroup{"net.", SysctlGroup::kNet}};

constexpr std::array<std::string_view, 12> kSafe = {"kernel.shm_rmid_forced",
                                                    "net.ipv4.ip_local_port_range",
                                                    "net.ipv4.tcp_syncookies",
                                                    "net.ipv4.ping_group_range",
                                                    "net.ipv4.ip_unprivileged_port_start",
                                                    "net.ipv4.ip_local_reserved_ports",
                                                    "net.ipv4.tcp_keepalive_time",
                                                    "net.ipv4.tcp_fin_timeout",
                                                    "net.ipv4.tcp_keepalive_intvl",
                                                    "net.ipv4.tcp_keepalive_probes",
                                                    "net.ipv4.tcp_rmem",
                                                    "net.ipv4.tcp_wmem"};

bool allowed_sysctl(std::string_view name, const NodeContext& node) {
  if (std::find(kSafe.begin(), kSafe.end(), name) != kSafe.end()) return true;
  const bool namespaced = std::any_of(kNamespaced.begin(), kNamespaced.end(),
                                      [&](const SysctlGroup& group) { return name.starts_with(group.prefix); });
  if (!namespaced) return false;
  return std::any_of(node.unsafe_sysctls.begin(), node.unsafe_sysctls.end(), [&](std::string_view pattern) {
    if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
    return name == pattern;
  });
}

std::optional<Rejection> reject_sysctls(const core::PodSpec& spec, const NodeContext& node) {
  if (spec.security_context() == nullptr || spec.security_context()->sysctls() == nullptr) return std::nullopt;
  for (const auto* s : *spec.security_context()->sysctls()) {
    std::string name(str(s->name()));
    std::replace(name.begin(), name.end(), '/', '.');
    const char* why = nullptr;
    if (!allowed_sysctl(name, node)) {
      why = "not allowlisted";
    } else if (name.starts_with("net.") && spec.host_network().value_or(false)) {
      why = "not allowed with host net enabled";
    } else if (!name.starts_with("net.") && spec.host_ipc().value_or(false)) {
      why = "not allowed with host ipc enabled";
    }
    if (why != nullptr) return Rejection{"SysctlForbidden", fmt::format("forbidden sysctl: \"{}\" {}", name, why)};
  }
  return std::nullopt;
}

bool wants_apparmor(const core::AppArmorProfile* profile) {
  return profile != nullptr && str(profile->type()) != "Unconfined";
}

std::optional<Rejection> reject_apparmor(const core::PodSpec& spec, const NodeContext& node) {
  if (node.apparmor) return std::nullopt;
  bool wanted = spec.security_context() && wants_apparmor(spec.security_context()->app_armor_profile());
  for (const auto* list : {spec.containers(), spec.init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list)
      wanted = wanted || (c->security_context() && wants_apparmor(c->security_context()->app_armor_profile()));
  }
  if (!wanted) return std::nullopt;
  return Rejection{"AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"};
}

}  // namespace

SeccompProfile render_seccomp(const core::SeccompProfile* profile, const NodeContext& node) {
  if (profile == nullptr) return {};
  const auto type = str(profile->type());
  if (type == "RuntimeDefault") return {Seccomp::kDefault, ""};
  if (type == "Localhost")
    return {Seccomp::kLocalhost, node.seccomp_root + "/" + std::string(str(profile->localhost_profile()))};
  return {};
}

SeLinux render_selinux(const core::SELinuxOptions* options) {
  if (options == nullptr) return {};
  return {std::string(str(options->user())), std::string(str(options->role())), std::string(str(options->type())),
          std::string(str(options->level()))};
}

Status set_security(const core::Pod& pod, const core::Container& container, const NodeContext& node, const Image* image,
                    ContainerConfig& out) {
  const auto* p = pod.spec()->security_context();
  const auto* c = container.security_context();
  if (p) set_pod_context(*p, node, out);
  if (c) set_container_context(*c, node, out);
  bool non_root = p && p->run_as_non_root().value_or(false);
  if (c) non_root = c->run_as_non_root().value_or(non_root);
  if (non_root) {
    if (auto s = verify_non_root(pod, image, out); !s.ok()) return s;
  }
  if (!out.run_as_user && image != nullptr) {
    if (!image->username.empty()) {
      out.run_as_username = image->username;
    } else {
      out.run_as_user = image->uid;
    }
  }
  // CRI takes a group only beside a user.
  if (out.run_as_group && !out.run_as_user && out.run_as_username.empty()) out.run_as_user = 0;
  return Done{};
}

std::optional<Rejection> reject(const core::Pod& pod, const NodeContext& node, const RuntimeStatus& runtime) {
  const auto& spec = *pod.spec();
  if (auto no = reject_sysctls(spec, node)) return no;
  if (auto no = reject_apparmor(spec, node)) return no;
  if (spec.security_context() && str(spec.security_context()->supplemental_groups_policy()) == "Strict" &&
      !runtime.supplemental_groups_policy && !runtime.name.empty()) {
    return Rejection{"SupplementalGroupsPolicyNotSupported",
                     "SupplementalGroupsPolicy=Strict is not supported in this node"};
  }
  if (str(spec.os() ? spec.os()->name() : nullptr) == "windows")
    return Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"};
  return std::nullopt;
}

}  // namespace gantry::nodeagent

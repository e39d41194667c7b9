#include "services/apigw/admission/pod_security.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <initializer_list>

#include "libs/model/object.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;

bool one_of(std::string_view value, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

struct Container {
  std::string name;
  const core::SecurityContext* context;
  const flatbuffers::Vector<flatbuffers::Offset<core::ContainerPort>>* ports;
  std::vector<std::string> hosts;  // that its probes and hooks go to
};

// `container "a"` or `containers "a", "b"`
std::string named(const std::vector<std::string>& names, std::string_view one, std::string_view many) {
  std::string out(names.size() == 1 ? one : many);
  for (size_t i = 0; i < names.size(); ++i) out += fmt::format("{}\"{}\"", i == 0 ? " " : ", ", names[i]);
  return out;
}
std::string containers_named(const std::vector<std::string>& names) { return named(names, "container", "containers"); }

std::string quoted_list(const std::vector<std::string>& values) {
  std::string out;
  for (const auto& value : values) out += fmt::format("{}\"{}\"", out.empty() ? "" : ", ", value);
  return out;
}

void add_unique(std::vector<std::string>& to, std::string_view value) {
  if (std::find(to.begin(), to.end(), value) == to.end()) to.emplace_back(value);
}

void add_host(std::vector<std::string>& hosts, const flatbuffers::String* host) {
  if (host != nullptr && host->size() > 0) add_unique(hosts, str(host));
}

/// The checks of one level as they were at Kubernetes 1.`minor`.
class Checks {
 public:
  Checks(const core::PodSpec& spec, int minor)
      : spec_(spec),
        minor_(minor),
        // Before 1.25 the kubelet knew no other system than its own.
        windows_(minor >= 25 && spec.os() != nullptr && str(spec.os()->name()) == "windows") {
    const auto take = [&](const auto* containers) {
      for (flatbuffers::uoffset_t i = 0; containers != nullptr && i < containers->size(); ++i) {
        const auto* c = containers->Get(i);
        containers_.push_back({std::string(str(c->name())), c->security_context(), c->ports(), {}});
        auto& hosts = containers_.back().hosts;
        for (const auto* probe : {c->liveness_probe(), c->readiness_probe(), c->startup_probe()}) {
          if (probe == nullptr) continue;
          if (probe->http_get() != nullptr) add_host(hosts, probe->http_get()->host());
          if (probe->tcp_socket() != nullptr) add_host(hosts, probe->tcp_socket()->host());
        }
        if (c->lifecycle() == nullptr) continue;
        for (const auto* handler : {c->lifecycle()->post_start(), c->lifecycle()->pre_stop()}) {
          if (handler == nullptr) continue;
          if (handler->http_get() != nullptr) add_host(hosts, handler->http_get()->host());
          if (handler->tcp_socket() != nullptr) add_host(hosts, handler->tcp_socket()->host());
        }
      }
    };
    take(spec.init_containers());
    take(spec.containers());
    take(spec.ephemeral_containers());
  }

  // In the order of the checks' names; some of the restricted ones stand for a baseline one.
  void run(SecurityLevel level) {
    if (level == SecurityLevel::kPrivileged) return;
    const bool restricted = level == SecurityLevel::kRestricted;
    if (restricted && !windows_ && minor_ >= 8) privilege_escalation();
    app_armor();
    if (restricted && !windows_ && minor_ >= 22) {
      drop_capabilities();
    } else {
      added_capabilities();
    }
    host_namespaces();
    if (!restricted) host_path();
    host_ports();
    if (minor_ >= 34) probe_hosts();
    privileged();
    proc_mount();
    if (restricted) {
      volume_types();
      run_as_non_root();
      if (minor_ >= 23) run_as_user();
    }
    se_linux();
    // Before 1.19 profiles were annotations, which no longer mean anything.
    if (minor_ >= 19 && !seccomp_baseline() && restricted && !windows_) seccomp_restricted();
    sysctls();
    host_process();
  }

  std::vector<std::string> violations;

 private:
  using Bad = std::function<bool(const core::SecurityContext*)>;
  std::vector<std::string> which(const Bad& bad) const {
    std::vector<std::string> names;
    for (const auto& c : containers_) {
      if (bad(c.context)) names.push_back(c.name);
    }
    return names;
  }
  void say(std::string_view check, std::string_view detail) {
    violations.push_back(fmt::format("{} ({})", check, detail));
  }

  void host_namespaces() {
    std::string which;
    const auto look = [&](bool set, const char* what) {
      if (set) which += fmt::format("{}{}=true", which.empty() ? "" : ", ", what);
    };
    look(spec_.host_network().value_or(false), "hostNetwork");
    look(spec_.host_pid().value_or(false), "hostPID");
    look(spec_.host_ipc().value_or(false), "hostIPC");
    if (!which.empty()) say("host namespaces", which);
  }

  void host_ports() {
    std::vector<std::string> names, ports;
    for (const auto& c : containers_) {
      bool bad = false;
      for (flatbuffers::uoffset_t i = 0; c.ports != nullptr && i < c.ports->size(); ++i) {
        const int port = c.ports->Get(i)->host_port().value_or(0);
        if (port == 0) continue;
        bad = true;
        add_unique(ports, std::to_string(port));
      }
      if (bad) names.push_back(c.name);
    }
    if (names.empty()) return;
    std::string list;
    for (const auto& port : ports) list += (list.empty() ? "" : ", ") + port;
    say("hostPort", fmt::format("{} {} hostPort{} {}", containers_named(names), names.size() == 1 ? "uses" : "use",
                                ports.size() == 1 ? "" : "s", list));
  }

  void probe_hosts() {
    std::vector<std::string> names, hosts;
    for (const auto& c : containers_) {
      if (c.hosts.empty()) continue;
      names.push_back(c.name);
      for (const auto& host : c.hosts) add_unique(hosts, host);
    }
    if (names.empty()) return;
    say("probe or lifecycle host",
        fmt::format("{} {} probe or lifecycle host{} {}", containers_named(names), names.size() == 1 ? "uses" : "use",
                    hosts.size() == 1 ? "" : "s", quoted_list(hosts)));
  }

  void host_path() {
    std::vector<std::string> names;
    if (spec_.volumes() == nullptr) return;
    for (const auto* volume : *spec_.volumes()) {
      if (volume->host_path() != nullptr) names.emplace_back(str(volume->name()));
    }
    if (!names.empty()) say("hostPath volumes", named(names, "volume", "volumes"));
  }

  void privileged() {
    const auto names = which([](const auto* c) { return c != nullptr && c->privileged().value_or(false); });
    if (!names.empty())
      say("privileged", fmt::format("{} must not set securityContext.privileged=true", containers_named(names)));
  }

  // Names and capabilities beyond those allowed.
  void capabilities(std::initializer_list<std::string_view> allowed, std::vector<std::string>& names,
                    std::vector<std::string>& beyond) const {
    for (const auto& c : containers_) {
      if (c.context == nullptr || c.context->capabilities() == nullptr || c.context->capabilities()->add() == nullptr)
        continue;
      bool bad = false;
      for (const auto* capability : *c.context->capabilities()->add()) {
        if (one_of(str(capability), allowed)) continue;
        bad = true;
        add_unique(beyond, str(capability));
      }
      if (bad) names.push_back(c.name);
    }
    std::sort(beyond.begin(), beyond.end());
  }

  void added_capabilities() {
    std::vector<std::string> names, beyond;
    capabilities({"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
                  "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"},
                 names, beyond);
    if (names.empty()) return;
    say("non-default capabilities", fmt::format("{} must not include {} in securityContext.capabilities.add",
                                                containers_named(names), quoted_list(beyond)));
  }

  void proc_mount() {
    std::vector<std::string> values;
    const auto names = which([&](const auto* c) {
      if (c == nullptr || c->proc_mount() == nullptr || str(c->proc_mount()) == "Default") return false;
      add_unique(values, str(c->proc_mount()));
      return true;
    });
    if (names.empty()) return;
    say("procMount",
        fmt::format("{} must not set securityContext.procMount to {}", containers_named(names), quoted_list(values)));
  }

  const core::SeccompProfile* pod_seccomp() const {
    return spec_.security_context() == nullptr ? nullptr : spec_.security_context()->seccomp_profile();
  }
  static bool good_seccomp(const core::SeccompProfile* profile) {
    return one_of(str(profile->type()), {"RuntimeDefault", "Localhost"});
  }

  bool seccomp_baseline() {
    std::vector<std::string> values;
    std::string setters;
    const bool pod = pod_seccomp() != nullptr && !good_seccomp(pod_seccomp());
    if (pod) add_unique(values, str(pod_seccomp()->type()));
    const auto names = which([&](const auto* c) {
      if (c == nullptr || c->seccomp_profile() == nullptr || good_seccomp(c->seccomp_profile())) return false;
      add_unique(values, str(c->seccomp_profile()->type()));
      return true;
    });
    if (!pod && names.empty()) return false;
    if (pod) setters = "pod";
    if (!names.empty()) setters += (setters.empty() ? "" : " and ") + containers_named(names);
    say("seccompProfile",
        fmt::format("{} must not set securityContext.seccompProfile.type to {}", setters, quoted_list(values)));
    return true;
  }

  bool safe_sysctl(std::string_view name) const {
    static constexpr std::pair<std::string_view, int> kSafe[] = {// and since when
                                                                 {"kernel.shm_rmid_forced", 0},
                                                                 {"net.ipv4.ip_local_port_range", 0},
                                                                 {"net.ipv4.tcp_syncookies", 0},
                                                                 {"net.ipv4.ping_group_range", 0},
                                                                 {"net.ipv4.ip_unprivileged_port_start", 0},
                                                                 {"net.ipv4.ip_local_reserved_ports", 27},
                                                                 {"net.ipv4.tcp_keepalive_time", 29},
                                                                 {"net.ipv4.tcp_fin_timeout", 29},
                                                                 {"net.ipv4.tcp_keepalive_intvl", 29},
                                                                 {"net.ipv4.tcp_keepalive_probes", 29},
                                                                 {"net.ipv4.tcp_rmem", 32},
                                                                 {"net.ipv4.tcp_wmem", 32}};
    return std::any_of(std::begin(kSafe), std::end(kSafe),
                       [&](const auto& safe) { return safe.first == name && minor_ >= safe.second; });
  }

  void sysctls() {
    std::vector<std::string> bad;
    const auto* context = spec_.security_context();
    if (context == nullptr || context->sysctls() == nullptr) return;
    for (const auto* sysctl : *context->sysctls()) {
      if (!safe_sysctl(str(sysctl->name()))) bad.emplace_back(str(sysctl->name()));
    }
    if (bad.empty()) return;
    std::string list;
    for (const auto& one : bad) list += (list.empty() ? "" : ", ") + one;
    say("forbidden sysctls", list);
  }

  void se_linux() {
    std::vector<std::string> types;
    bool user = false, role = false;
    const auto bad = [&](const core::SELinuxOptions* o) {
      if (o == nullptr) return false;
      bool found = false;
      const bool engine = minor_ >= 31 && str(o->type()) == "container_engine_t";
      if (!engine && !one_of(str(o->type()), {"", "container_t", "container_init_t", "container_kvm_t"})) {
        add_unique(types, str(o->type()));
        found = true;
      }
      if (!str(o->user()).empty()) found = user = true;
      if (!str(o->role()).empty()) found = role = true;
      return found;
    };
    const bool pod = spec_.security_context() != nullptr && bad(spec_.security_context()->se_linux_options());
    const auto names = which([&](const auto* c) { return c != nullptr && bad(c->se_linux_options()); });
    if (!pod && names.empty()) return;
    std::string setters = pod ? "pod" : "", what;
    if (!names.empty()) setters += (pod ? " and " : "") + containers_named(names);
    const auto add = [&](std::string text) { what += (what.empty() ? "" : "; ") + text; };
    if (!types.empty()) add(fmt::format("type{} {}", types.size() == 1 ? "" : "s", quoted_list(types)));
    if (user) add("user may not be set");
    if (role) add("role may not be set");
    say("seLinuxOptions", fmt::format("{} set forbidden securityContext.seLinuxOptions: {}", setters, what));
  }

  void app_armor() {
    const auto bad = [](const core::AppArmorProfile* p) {
      return p != nullptr && !one_of(str(p->type()), {"RuntimeDefault", "Localhost"});
    };
    const bool pod = spec_.security_context() != nullptr && bad(spec_.security_context()->app_armor_profile());
    const auto names = which([&](const auto* c) { return c != nullptr && bad(c->app_armor_profile()); });
    if (!pod && names.empty()) return;
    std::string setters = pod ? "pod" : "";
    if (!names.empty()) setters += (pod ? " and " : "") + containers_named(names);
    say("forbidden AppArmor profile",
        fmt::format("{} must not set securityContext.appArmorProfile.type to \"Unconfined\"", setters));
  }

  void host_process() {
    const auto bad = [](const core::WindowsSecurityContextOptions* o) {
      return o != nullptr && o->host_process().value_or(false);
    };
    const bool pod = spec_.security_context() != nullptr && bad(spec_.security_context()->windows_options());
    const auto names = which([&](const auto* c) { return c != nullptr && bad(c->windows_options()); });
    if (!pod && names.empty()) return;
    std::string setters = pod ? "pod" : "";
    if (!names.empty()) setters += (pod ? " and " : "") + containers_named(names);
    say("hostProcess", fmt::format("{} must not set securityContext.windowsOptions.hostProcess=true", setters));
  }

  void volume_types() {
    std::vector<std::string> names, types;
    if (spec_.volumes() == nullptr) return;
    static const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.Volume");
    for (const auto* volume : *spec_.volumes()) {
      if (volume->config_map() || volume->csi() || volume->downward_api() || volume->empty_dir() ||
          volume->ephemeral() || volume->persistent_volume_claim() || volume->projected() || volume->secret())
        continue;
      names.emplace_back(str(volume->name()));
      std::string what = "unknown";
      for (const auto& field : type.fields) {
        if (field.json != "name" && reinterpret_cast<const flatbuffers::Table*>(volume)->CheckField(field.slot))
          what = field.json;
      }
      add_unique(types, what);
    }
    if (names.empty()) return;
    say("restricted volume types",
        fmt::format("{} {} restricted volume type{} {}", named(names, "volume", "volumes"),
                    names.size() == 1 ? "uses" : "use", types.size() == 1 ? "" : "s", quoted_list(types)));
  }

  void privilege_escalation() {
    const auto names =
        which([](const auto* c) { return c == nullptr || c->allow_privilege_escalation().value_or(true); });
    if (!names.empty())
      say("allowPrivilegeEscalation != false",
          fmt::format("{} must set securityContext.allowPrivilegeEscalation=false", containers_named(names)));
  }

  void drop_capabilities() {
    const auto undropped = which([](const auto* c) {
      if (c == nullptr || c->capabilities() == nullptr || c->capabilities()->drop() == nullptr) return true;
      return std::none_of(c->capabilities()->drop()->begin(), c->capabilities()->drop()->end(),
                          [](const auto* one) { return str(one) == "ALL"; });
    });
    std::vector<std::string> adders, beyond;
    capabilities({"NET_BIND_SERVICE"}, adders, beyond);
    std::string detail;
    if (!undropped.empty())
      detail = fmt::format("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers_named(undropped));
    if (!adders.empty()) {
      detail += fmt::format("{}{} must not include {} in securityContext.capabilities.add", detail.empty() ? "" : "; ",
                            containers_named(adders), quoted_list(beyond));
    }
    if (!detail.empty()) say("unrestricted capabilities", detail);
  }

  void run_as_non_root() {
    const auto* pod = spec_.security_context();
    const bool pod_says = pod != nullptr && pod->run_as_non_root().has_value();
    const bool pod_good = pod_says && *pod->run_as_non_root();
    std::vector<std::string> wrong, silent;
    for (const auto& c : containers_) {
      const bool says = c.context != nullptr && c.context->run_as_non_root().has_value();
      if (says && !*c.context->run_as_non_root()) wrong.push_back(c.name);
      if (!says && !pod_good) silent.push_back(c.name);
    }
    if (pod_says && !pod_good && !silent.empty()) {
      say("runAsNonRoot != true", "pod must not set securityContext.runAsNonRoot=false");
    } else if (!wrong.empty()) {
      say("runAsNonRoot != true",
          fmt::format("{} must not set securityContext.runAsNonRoot=false", containers_named(wrong)));
    } else if (!silent.empty()) {
      say("runAsNonRoot != true",
          fmt::format("pod or {} must set securityContext.runAsNonRoot=true", containers_named(silent)));
    }
  }

  void run_as_user() {
    const bool pod = spec_.security_context() != nullptr && spec_.security_context()->run_as_user().has_value() &&
                     *spec_.security_context()->run_as_user() == 0;
    const auto names =
        which([](const auto* c) { return c != nullptr && c->run_as_user().has_value() && *c->run_as_user() == 0; });
    if (!pod && names.empty()) return;
    std::string setters = pod ? "pod" : "";
    if (!names.empty()) setters += (pod ? " and " : "") + containers_named(names);
    say("runAsUser=0", fmt::format("{} must not set runAsUser=0", setters));
  }

  void seccomp_restricted() {
    const auto* pod = pod_seccomp();
    const bool pod_good = pod != nullptr && good_seccomp(pod);
    const auto silent =
        which([&](const auto* c) { return !pod_good && (c == nullptr || c->seccomp_profile() == nullptr); });
    if (silent.empty()) return;
    say("seccompProfile",
        fmt::format("pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                    containers_named(silent)));
  }

  const core::PodSpec& spec_;
  const int minor_;
  const bool windows_;
  std::vector<Container> containers_;
};

}  // namespace

std::vector<std::string> security_violations(SecurityLevel level, int minor, const core::PodSpec& spec) {
  Checks checks(spec, minor);
  checks.run(level);
  return checks.violations;
}

}  // namespace gantry::apigw

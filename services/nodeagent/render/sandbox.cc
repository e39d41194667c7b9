// A pod's sandbox: its names, its network and its namespaces.
#include <fmt/format.h>

#include "services/nodeagent/render/configs.h"
#include "services/nodeagent/render/hosts.h"
#include "services/nodeagent/render/security.h"
#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr size_t kMaxServers = 3, kMaxSearches = 32;  // what resolvers read

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
  if (out.servers.size() > kMaxServers) out.servers.resize(kMaxServers);
  if (out.searches.size() > kMaxSearches) out.searches.resize(kMaxSearches);
  return out;
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

std::vector<PortMapping> host_ports(const core::PodSpec& spec) {
  std::vector<PortMapping> out;
  for (const auto* list : {spec.containers(), spec.init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list) {
      if (c->ports() == nullptr || (list == spec.init_containers() && str(c->restart_policy()) != "Always")) continue;
      for (const auto* p : *c->ports()) {
        if (p->host_port().value_or(0) == 0) continue;
        out.push_back({std::string(str(p->protocol())), p->container_port().value_or(0), p->host_port().value_or(0),
                       std::string(str(p->host_ip()))});
      }
    }
  }
  return out;
}

void set_security(const core::PodSpec& spec, const NodeContext& node, SandboxConfig& out) {
  out.host_users = spec.host_users().value_or(true);
  for (const auto* list : {spec.containers(), spec.init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list)
      out.privileged |= c->security_context() && c->security_context()->privileged().value_or(false);
  }
  const auto* sc = spec.security_context();
  if (sc == nullptr) return;
  if (sc->supplemental_groups())
    out.supplemental_groups.assign(sc->supplemental_groups()->begin(), sc->supplemental_groups()->end());
  out.strict_groups = str(sc->supplemental_groups_policy()) == "Strict";
  out.seccomp = render_seccomp(sc->seccomp_profile(), node);
  out.selinux = render_selinux(sc->se_linux_options());
  if (sc->sysctls()) {
    for (const auto* s : *sc->sysctls()) {
      std::string name(str(s->name()));
      std::replace(name.begin(), name.end(), '/', '.');
      out.sysctls[std::move(name)] = str(s->value());
    }
  }
}

}  // namespace

std::string pod_cgroup(const core::Pod& pod, const NodeContext& node) {
  if (node.cgroup_parent.empty() || !node.pod_cgroups) return node.cgroup_parent;
  const auto qos = pod_qos(*pod.spec());
  return fmt::format("{}{}/pod{}", node.cgroup_parent,
                     qos == Qos::kGuaranteed  ? ""
                     : qos == Qos::kBurstable ? "/burstable"
                                              : "/besteffort",
                     str(pod.metadata()->uid()));
}

SandboxConfig render_sandbox(const core::Pod& pod, const NodeContext& node, uint32_t attempt) {
  const auto& meta = *pod.metadata();
  const auto& spec = *pod.spec();
  SandboxConfig out;
  out.name = str(meta.name());
  out.ns = str(meta.namespace_());
  out.uid = str(meta.uid());
  out.attempt = attempt;
  out.host_network = spec.host_network().value_or(false);
  auto hostname = kernel_hostname(pod, node);
  out.hostname = hostname.ok() ? std::move(*hostname) : pod_hostname(pod, node).name;
  out.log_directory = node.paths.logs(out.ns, out.name, out.uid);
  out.cgroup_parent = pod_cgroup(pod, node);
  auto names = dns(spec, out.ns, node);
  out.dns_servers = std::move(names.servers);
  out.dns_searches = std::move(names.searches);
  out.dns_options = std::move(names.options);
  if (!out.host_network) out.ports = host_ports(spec);
  out.labels = pod_labels(pod);
  out.annotations[kGracePeriodAnnotation] = std::to_string(spec.termination_grace_period_seconds().value_or(30));
  out.host_pid = spec.host_pid().value_or(false);
  out.host_ipc = spec.host_ipc().value_or(false);
  out.share_pid = spec.share_process_namespace().value_or(false);
  set_security(spec, node, out);
  out.resources = pod_cgroup_resources(spec);
  const auto overhead = amounts(spec.overhead());
  out.overhead.cpu_shares = overhead.count("cpu") ? cpu_shares(*amount(overhead, "cpu")) : 0;
  out.overhead.memory_limit = amount(overhead, "memory").value_or(0);
  return out;
}

}  // namespace gantry::nodeagent

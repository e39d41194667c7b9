#include "services/nodeagent/render/hosts.h"

#include <fmt/format.h>

namespace gantry::nodeagent {

using model::str;

namespace {
constexpr size_t kMaxHostname = 63, kMaxKernelHostname = 64;
}  // namespace

PodHostname pod_hostname(const core::Pod& pod, const NodeContext& node) {
  const auto& spec = *pod.spec();
  PodHostname out;
  if (!str(spec.hostname_override()).empty()) return {std::string(str(spec.hostname_override())), ""};
  out.name = str(spec.hostname()).empty() ? str(pod.metadata()->name()) : str(spec.hostname());
  if (out.name.size() > kMaxHostname) out.name.resize(kMaxHostname);
  while (!out.name.empty() && (out.name.back() == '-' || out.name.back() == '.')) out.name.pop_back();
  if (!str(spec.subdomain()).empty()) {
    out.domain =
        fmt::format("{}.{}.svc.{}", str(spec.subdomain()), str(pod.metadata()->namespace_()), node.cluster_domain);
  }
  return out;
}

Result<std::string> kernel_hostname(const core::Pod& pod, const NodeContext& node) {
  if (pod.spec()->host_network().value_or(false)) return std::string();
  auto [name, domain] = pod_hostname(pod, node);
  if (domain.empty() || !pod.spec()->set_hostname_as_fqdn().value_or(false)) return name;
  auto full = name + "." + domain;
  if (full.size() > kMaxKernelHostname) {
    return Error{Code::kInvalid,
                 fmt::format("failed to construct FQDN from pod hostname and cluster domain, FQDN {} is "
                             "too long ({} characters is the max, {} characters requested)",
                             full, kMaxKernelHostname, full.size())};
  }
  return full;
}

std::string render_hosts(const core::Pod& pod, const NodeContext& node, const std::vector<std::string>& pod_ips,
                         const std::string& machine_hosts) {
  std::string out;
  if (pod.spec()->host_network().value_or(false)) {
    out = "# Kubernetes-managed hosts file (host network).\n" + machine_hosts;
  } else {
    out =
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
        "ip6-loopback\nfe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    const auto [name, domain] = pod_hostname(pod, node);
    for (const auto& ip : pod_ips) {
      out +=
          domain.empty() ? fmt::format("{}\t{}\n", ip, name) : fmt::format("{}\t{}.{}\t{}\n", ip, name, domain, name);
    }
  }
  if (pod.spec()->host_aliases() && pod.spec()->host_aliases()->size() > 0) {
    out += "\n# Entries added by HostAliases.\n";
    for (const auto* alias : *pod.spec()->host_aliases()) {
      out += str(alias->ip());
      if (alias->hostnames()) {
        for (const auto* hostname : *alias->hostnames()) out += fmt::format("\t{}", str(hostname));
      }
      out += '\n';
    }
  }
  return out;
}

}  // namespace gantry::nodeagent

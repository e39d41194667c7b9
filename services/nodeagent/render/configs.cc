#include "services/nodeagent/render/configs.h"

#include <fmt/format.h>

#include "services/nodeagent/render/security.h"
#include "services/nodeagent/resource/pod_resources.h"

namespace gantry::nodeagent {

using model::str;

namespace {

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
  if (!own_hosts) out.mounts.push_back({"/etc/hosts", node.paths.hosts(uid), false, Propagation::kPrivate});
  auto termination = str(container.termination_message_path()).empty()
                         ? std::string("/dev/termination-log")
                         : std::string(str(container.termination_message_path()));
  auto file = node.paths.termination_log(uid, out.name, out.attempt);
  out.mounts.push_back({termination, file, false, Propagation::kPrivate});
  out.annotations[kTerminationPathAnnotation] = file;
  out.annotations[kTerminationPolicyAnnotation] = str(container.termination_message_policy());
  return Done{};
}

}  // namespace

Result<ContainerConfig> render_container(const core::Pod& pod, const core::Container& container, uint32_t attempt,
                                         const NodeContext& node, const std::vector<std::string>& pod_ips,
                                         const std::vector<VolumePlan>& volumes, const FindReference& find,
                                         const Image* image) {
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
  if (container.lifecycle() && !str(container.lifecycle()->stop_signal()).empty())
    out.annotations[kStopSignalAnnotation] = str(container.lifecycle()->stop_signal());
  out.resources = container_resources(*pod.spec(), container, node.memory_bytes);
  if (auto s = set_security(pod, container, node, image, out); !s.ok()) return s.error();
  if (auto s = set_mounts(pod, container, node, volumes, out); !s.ok()) return s.error();
  if (auto s = set_devices(container, volumes, out); !s.ok()) return s.error();
  return out;
}

std::string pull_policy(const core::Container& container) {
  return pull_policy(str(container.image()), str(container.image_pull_policy()));
}

}  // namespace gantry::nodeagent

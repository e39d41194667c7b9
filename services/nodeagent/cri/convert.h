// Our runtime structs to and from CRI messages. Pure functions.
#pragma once

#include "cri.pb.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent::cri {

runtime::v1::LinuxContainerResources to_proto(const Resources& from);
runtime::v1::PodSandboxConfig to_proto(const SandboxConfig& config);
runtime::v1::ContainerConfig to_proto(const ContainerConfig& config, const SandboxConfig& sandbox);
Image from_proto(const runtime::v1::Image& image);
Sandbox from_proto(const runtime::v1::PodSandbox& sandbox);
Container from_proto(const runtime::v1::Container& container);
/// Adds what only the status tells: times, exit code, reason, log path.
void merge_status(const runtime::v1::ContainerStatus& status, Container& container);

}  // namespace gantry::nodeagent::cri

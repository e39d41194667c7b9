// What a dev cluster is made of, and the configuration files of the servers that are not ours.
#pragma once

#include <string>

#include "libs/base/result.h"
#include "tools/gantry/dev/paths.h"

namespace gantry::dev {

inline constexpr const char* kServiceCidr = "10.96.0.0/16";
inline constexpr const char* kLoadBalancers = "172.30.1.0/24";  // routed to the nodes
inline constexpr const char* kClusterDns = "10.96.0.10";
inline constexpr const char* kKubernetesAddress = "10.96.0.1";  // the first of kServiceCidr
inline constexpr const char* kNatsUrl = "tls://172.30.0.1:4222";
inline constexpr const char* kGatewayAddress = "172.30.0.1:6443";

struct Cluster {
  int nodes = 3;
  std::string capacity =
      "cpu=4,memory=4Gi,pods=110";  // of each node: together they may promise more than this machine has
  std::string binaries;             // folder of gantry-apigw and the others
  std::string images;               // folder of the image archives
};

Status save_cluster(const Paths& paths, const Cluster& cluster);
Result<Cluster> load_cluster(const Paths& paths);

/// Keys, certificates, credentials, passwords and configuration files; what is there and still right is kept.
Status write_configuration(const Paths& paths, const Cluster& cluster);

}  // namespace gantry::dev

// What rendering a pod for the runtime needs to know beside the pod itself.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::nodeagent {

namespace core = api::core_v1;

/// The agent's tree on disk:
///   <root>/logs/pods/<ns>_<name>_<uid>/<container>/<attempt>.log    what CRI writes
///   <root>/pods/<uid>/volumes/<volume>/                             emptyDir, configMap, secret, ...
///   <root>/pods/<uid>/parts/<container>/<n>                         the n-th mount, of a part of a volume (subPath)
///   <root>/pods/<uid>/csi/<volume>.json                             what a CSI driver was asked to mount
///   <root>/pods/<uid>/images/<volume>                               an image that is held for a volume; empty
///   <root>/pods/<uid>/etc-hosts                                     the managed /etc/hosts
///   <root>/pods/<uid>/containers/<name>/<attempt>                   the termination message
///   <root>/csi/<hash>/{volume.json,mount}                           a volume that a CSI driver staged on this node
///   <root>/plugins_registry/<driver>.sock                           where CSI drivers make themselves known
///   <root>/exec/<id>/{stdin,stdout,stderr}                          FIFOs of exec sessions
///   <root>/epoch                                                    grows with each start of the agent
struct Paths {
  std::string root;
  std::string logs(std::string_view ns, std::string_view name, std::string_view uid) const;
  std::string pod(std::string_view uid) const { return root + "/pods/" + std::string(uid); }
  std::string volume(std::string_view uid, std::string_view name) const {
    return pod(uid) + "/volumes/" + std::string(name);
  }
  std::string part(std::string_view uid, std::string_view container, size_t mount) const {
    return pod(uid) + "/parts/" + std::string(container) + "/" + std::to_string(mount);
  }
  std::string csi_records(std::string_view uid) const { return pod(uid) + "/csi"; }
  std::string staged_csi() const { return root + "/csi"; }
  std::string plugins() const { return root + "/plugins_registry"; }
  std::string images(std::string_view uid) const { return pod(uid) + "/images"; }
  std::string hosts(std::string_view uid) const { return pod(uid) + "/etc-hosts"; }
  std::string termination_log(std::string_view uid, std::string_view container, uint32_t attempt) const {
    return pod(uid) + "/containers/" + std::string(container) + "/" + std::to_string(attempt);
  }
  std::string exec() const { return root + "/exec"; }
  std::string epoch() const { return root + "/epoch"; }
};

struct DnsSettings {
  std::vector<std::string> servers, searches, options;
};

/// Names every Service of a namespace.
using EachService =
    std::function<void(std::string_view ns, const std::function<void(const model::Object& service)>& visit)>;

struct NodeContext {
  std::string node;
  std::vector<std::string> host_ips;
  std::string cluster_dns, cluster_domain = "cluster.local";
  DnsSettings host_dns;                    // of the machine's resolv.conf
  std::string service_host, service_port;  // of the `kubernetes` Service; empty: no such variables
  std::string cgroup_parent, seccomp_root;
  bool pod_cgroups = false;  // one a pod below the parent, by its QoS class
  bool hollow = false;       // nothing is written: volumes have no content
  /// Allocatable: what an absent limit means.
  int64_t cpu_milli = 0, memory_bytes = 0, ephemeral_bytes = 0;
  EachService services;                      // for pods' environment; may be empty
  std::vector<std::string> unsafe_sysctls;   // allowed beside the safe ones; a name, or a prefix with a star
  int64_t pod_pids = 0;                      // processes of one pod; 0 is no limit
  std::vector<std::string> user_namespaces;  // handlers that have them
  bool apparmor = false;                     // the machine has it
  Paths paths;
};

/// The ConfigMap or Secret of that name, or an empty Object when there is none. `resource`: "configmaps", "secrets",
/// "persistentvolumeclaims", "persistentvolumes", "csidrivers" or kTokens (a TokenRequest).
using FindReference =
    std::function<model::Object(std::string_view resource, std::string_view ns, std::string_view name)>;

/// What a pod refers to, each once. A ServiceAccount's token for a volume is resource "serviceaccounts/token", and its
/// name says for what it is (TokenName).
struct Reference {
  std::string resource, name;
  bool operator==(const Reference&) const = default;
};
std::vector<Reference> references(const core::PodSpec& spec, bool volumes = true);
std::vector<Reference> references(const core::Pod& pod, bool hollow = false);

inline constexpr const char* kTokens = "serviceaccounts/token";
struct TokenName {
  std::string account, pod, pod_uid;
  int64_t seconds = 3600;
  std::string audience;  // empty: the API's own
  std::string encode() const;
  static TokenName decode(std::string_view name);
};
TokenName token_name(const core::Pod& pod, const core::ServiceAccountTokenProjection& source);

/// Always, IfNotPresent or Never; by the image's tag when nobody says.
std::string pull_policy(std::string_view image, std::string_view said);

/// The claim that a volume stands for, its own (ephemeral) or one by name; empty for other volumes.
std::string claim_of(const core::Pod& pod, const core::Volume& volume);

/// The value of a downward API field: metadata.labels['a'], status.podIP, ... kInvalid names what is not supported.
Result<std::string> field_value(const core::Pod& pod, std::string_view path, const NodeContext& node,
                                const std::vector<std::string>& pod_ips);
/// limits.cpu, requests.memory, ... in units of the divisor, rounded up.
Result<std::string> resource_value(const core::Pod& pod, const core::Container* container,
                                   const core::ResourceFieldSelector& selector, const NodeContext& node);

}  // namespace gantry::nodeagent

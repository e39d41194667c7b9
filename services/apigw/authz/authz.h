// Who may do what. Each of these may say yes:
//   system:masters                everything
//   the node authorizer           system:node:<n>: its own node object, the pods bound to it, the ConfigMaps, Secrets
//                                 ServiceAccounts, claims and volumes that these refer to (by name), its lease in
//                                 kube-node-lease, its CSINode, attachments, certificate requests, events
//   fixed rights                  Gantry's own services: what they need does not hang on objects that can be edited
//     system:gantry:controllers     reads all but the content of Secrets, writes what the controllers own, deletes
//     system:gantry:scheduler       reads pods and nodes, binds, evicts, reports why not
//     system:gantry:netproxy:<n>    reads Services, endpoints, nodes, namespaces, pods and policies
//     system:gantry:hollow          what a node may, for nodes named hollow-<i> (benchmarks)
//   RBAC                          everybody (rbac.h)
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/model/schema.h"
#include "services/apigw/authz/identity.h"

namespace gantry::apigw {

/// What somebody wants to do, in the words of the API's authorizer.
struct Attributes {
  std::string verb;  // get, list, watch, create, update, patch, delete, deletecollection
  std::string resource, subresource, ns, name;
  std::string node;                       // list and watch: only what is on this node
  bool metadata_only = false;             // list and watch of chains: a Secret without its content
  std::string path;                       // of a request that is not about a resource: /version
  std::optional<std::string> group = {};  // API group; nullopt: that of the kind which is stored as `resource`
};
std::string group_of(const Attributes& attributes);

/// What authorization needs to know about the cluster.
class Facts {
 public:
  virtual ~Facts() = default;
  /// The node that the pod is bound to, "" when there is none.
  virtual std::string pod_node(std::string_view ns, std::string_view name) const = 0;
  /// A pod bound to `node` refers to this object, or to the claim that this volume is bound to; a VolumeAttachment
  /// names the node.
  virtual bool refers(std::string_view node, std::string_view resource, std::string_view ns,
                      std::string_view name) const = 0;
  /// RBAC grants it; `reason` (may be null) then says why.
  virtual bool granted(const Identity& identity, const Attributes& attributes, std::string* reason) const = 0;
};

/// True if anybody says yes. `reason` (may be null) is for access reviews.
bool allowed(const Identity& identity, const Attributes& attributes, const Facts& facts, std::string* reason = nullptr);
/// kForbidden in the words of the Kubernetes API. Pure.
Status authorize(const Identity& identity, const Attributes& attributes, const Facts& facts);

}  // namespace gantry::apigw

// What the NetworkPolicies of a cluster ask of one node: which of its pods may be reached by whom, and reach whom. Fed
// with objects one by one and in any order; the outcome depends only on the last state of each. A pod that changes
// costs a look at each selector in use, and only selectors of policies that select a pod of this node are in use.
//
// Pods in the host's network are neither selected nor peers; neither are pods that have ended. One thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "libs/model/object.h"
#include "services/netproxy/policy/compile.h"
#include "services/netproxy/rules/ruleset.h"

namespace gantry::netproxy {

class PolicyBook {
 public:
  explicit PolicyBook(std::string node) : node_(std::move(node)) {}

  // The last state of each object; `now` empty: it is gone. True if the rules changed, or may have.
  bool pod(const std::string& key, const model::Object& now);  // "<namespace>/<name>"
  bool name_space(const std::string& name, const model::Object& now);
  bool policy(const std::string& key, const model::Object& now);

  /// Adds chains, sets and elements to what the Services ask for.
  void add_to(Ruleset& ruleset);

 private:
  /// What matters of a pod that has an address of its own.
  struct Pod {
    model::Object object;  // for its labels
    std::string ns;
    bool local = false;
    std::vector<std::string> addresses;                      // IPv4
    std::vector<std::pair<std::string, std::string>> ports;  // protocol/name -> number
    bool operator==(const Pod& other) const;
  };
  /// Elements by how many pods give them: an address may pass from one pod to the next before the first is gone.
  class Members {
   public:
    void add(const std::string& element);
    void remove(const std::string& element);
    std::shared_ptr<const std::map<std::string, std::string>> elements();

   private:
    std::map<std::string, size_t> counts_;
    std::shared_ptr<const std::map<std::string, std::string>> elements_;  // null: changed since
  };
  struct Selected {
    PodSelection selection;
    std::set<std::string> namespaces;  // that match now, where the selection goes by namespace labels
    Members members;
  };
  struct Named {
    std::string port;  // protocol/name
    Members members;
  };

  static std::optional<Pod> read(const model::Object& pod, std::string_view node);
  static bool matches(const Selected& set, const Pod& pod);
  void count(const Pod& pod, bool add);
  void count(Selected& set, const Pod& pod, bool add);
  void count(Named& set, const Pod& pod, bool add);
  /// Which local pods are under which policies, and the sets that these need.
  void assign();
  void use_sets(const std::set<const CompiledPolicy*>& policies);

  std::string node_;
  std::map<std::string, Pod> pods_;
  std::set<std::string> local_;  // keys of pods_
  std::map<std::string, model::Object> namespaces_;
  std::map<std::string, CompiledPolicy> policies_;  // by "<namespace>/<name>"
  bool assigned_ = true;

  // Of assign().
  std::map<std::string, std::vector<std::string>> chains_;
  std::map<std::string, std::string> verdicts_[2];  // by Direction: address -> verdict
  std::map<std::string, Selected> selected_;
  std::map<std::string, Named> named_;
};

}  // namespace gantry::netproxy

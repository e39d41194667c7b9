// Mirror pods: what stands in the API for each static pod, so that its status can be seen there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/projection/cache.h"

namespace gantry::nodeagent {

/// Makes the mirrors that should be there, and deletes those that should not or that are not of today's manifest: a
/// mirror that somebody deletes comes again. Loop's thread only; what is passed by reference outlives it.
class MirrorPods {
 public:
  /// `found`: the mirror of the static pod of that uid, empty when there is none (any more).
  using Found = std::function<void(const std::string& uid, const model::Object& mirror)>;
  MirrorPods(Loop& loop, bus::Commands& commands, projection::Cache& pods, Found found)
      : loop_(loop), commands_(commands), pods_(pods), found_(std::move(found)) {}

  void want(model::Object pod);
  void unwant(const std::string& uid);
  /// The Node that owns them: none is made before it is known, if this is called with "" at first.
  void set_node(std::string uid) {
    if (node_uid_ == uid) return;
    node_uid_ = std::move(uid);
    reconcile();
  }
  /// After each change of the pods of this node.
  void reconcile();

 private:
  void create(const model::Object& pod);
  void remove(const model::Object& mirror);
  void answered(const std::string& key, const char* what, const Result<bus::CommandOutcome>& outcome);

  Loop& loop_;
  bus::Commands& commands_;
  projection::Cache& pods_;
  Found found_;
  std::map<std::string, model::Object> wanted_;  // by "<namespace>/<name>"
  std::map<std::string, uint64_t> shown_;        // uid of a static pod -> revision of the mirror that was told
  std::set<std::string> in_flight_;
  std::optional<std::string> node_uid_;
  Timer retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

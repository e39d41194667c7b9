// The ConfigMaps and Secrets that this node's pods refer to: fetched when first needed, fetched again when the node's
// partition says that they changed. Tokens for their volumes likewise, renewed after four fifths of their time. Claims,
// with the volumes that they are bound to and the drivers of these, are fetched each time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/bus/events.h"
#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

/// Loop's thread only; `loop`, `bus` and `commands` outlive it.
class ReferenceStore {
 public:
  /// `changed` is told after the new content is here, or it is gone.
  using Changed = std::function<void(const std::string& resource, const std::string& ns, const std::string& name)>;
  ReferenceStore(Loop& loop, bus::Commands& commands, Changed changed)
      : loop_(loop), commands_(commands), changed_(std::move(changed)) {}

  /// Listens for changes on the node's partition. Without it (hollow nodes) nothing is refreshed.
  void listen(bus::Bus& bus, const std::string& node);

  /// Has the content of each that exists when it calls back. kUnavailable and the like when that could not be asked.
  void ensure(const std::string& ns, const std::vector<Reference>& references, std::function<void(Status)> done);
  /// Empty when it does not exist or was not ensured.
  model::Object find(std::string_view resource, std::string_view ns, std::string_view name) const;
  /// Drops what no pod needs; `needed` is asked for each.
  void trim(
      const std::function<bool(const std::string& resource, const std::string& ns, const std::string& name)>& needed);

 private:
  using Key = std::array<std::string, 3>;  // resource, namespace, name
  void fetch(const Key& key, std::function<void(Status)> done);
  void fetch_token(const Key& key, std::function<void(Status)> done);
  void refresh(const Key& key);

  Loop& loop_;
  bus::Commands& commands_;
  Changed changed_;
  std::map<Key, model::Object> known_;
  std::map<Key, Timer> retries_;
  std::vector<std::unique_ptr<bus::Feed>> feeds_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent

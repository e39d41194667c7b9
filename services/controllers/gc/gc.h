// Deletes what has lost its owner, and carries out foreground and orphaning deletion.
//
// A key is one object, "<resource>:<namespace>/<name>". That an owner is absent is read from a view that may be behind:
// so every delete and every dropped reference carries the guard that no object with the owner's uid exists, which apigw
// checks in the commit. The guard names one uid: with several absent owners their references are dropped one by one,
// and the last goes with the object.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class GarbageCollector final : public Controller {
 public:
  std::string_view name() const override { return "gc"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override;
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers

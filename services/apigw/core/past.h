// What the objects of a mirror were at earlier revisions, for lists that go on at theirs. Kept are only the differences
// from now, as long as the mirror's window reaches back. Loop's thread only.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "libs/model/object.h"

namespace gantry::apigw {

class Mirror;

class Past {
 public:
  /// By key: what is different now and how it was at the revision; an empty object was not there.
  using Undone = std::map<std::string, model::Object, std::less<>>;

  /// Null when the window does not reach back to `revision`. Cheap when asked again for the same one.
  std::shared_ptr<const Undone> at(const Mirror& mirror, uint64_t revision);
  /// Lets go of what no window reaches back to.
  void forget_before(uint64_t oldest);

 private:
  struct Kept {
    uint64_t revision;
    uint64_t until;  // number of the first change that is not in it
    std::shared_ptr<Undone> undone;
  };
  std::list<Kept> kept_;  // the last used first
};

}  // namespace gantry::apigw

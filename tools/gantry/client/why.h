// From an object back to the command that began it: each commit names what it was done for.
#pragma once

#include "tools/gantry/client/history.h"

namespace gantry::client {

struct Link {
  Step step;
  std::optional<Step> before;  // of the same object, if known
  size_t skipped = 0;          // links between the one before and this, that went in a circle through the same objects
};

struct Chain {
  std::vector<Link> links;  // from the first known cause to the object as it is now
  std::string open;         // why there is no cause before the first; empty: it is its own, somebody's command
  WallMicros since = 0;     // the history's begin
};

/// "pods/default/web@7" -> its parts; nothing for other words.
struct Reference {
  const model::Kind* kind = nullptr;
  std::string ns, name;
  uint64_t revision = 0;
};
std::optional<Reference> parse_reference(const std::string& because);

/// Follows causes from the newest step of the object. kNotFound: the history has nothing of it.
Result<Chain> find_chain(const ReadHistory& read, const model::Kind& kind, const std::string& ns,
                         const std::string& name);
/// Where a rollout goes round (each pod that is ready lets the next begin), only the way in and the way out stay.
void fold(Chain& chain);
std::string print_chain(const Chain& chain);

}  // namespace gantry::client

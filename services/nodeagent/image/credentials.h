// Who may pull from which registry, as Secrets of the types kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg
// say it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "libs/model/object.h"
#include "services/nodeagent/image/reference.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Plain values; not thread-safe.
class Credentials {
 public:
  /// The text of a config.json ({"auths": {...}}) or, with `legacy`, of a .dockercfg ({...}). Entries that cannot be
  /// read are left out; kInvalid when it is no JSON object at all.
  Status add(std::string_view json, bool legacy);
  /// A Secret of either type; others hold nothing for us.
  Status add(const model::Object& secret);
  /// In the order in which they are to be tried: the most specific entry first. An entry's host may hold globs
  /// (*.example.com), its path is a prefix.
  std::vector<RegistryAuth> find(const ImageReference& image) const;

 private:
  std::multimap<std::string, RegistryAuth, std::greater<>> entries_;  // host[:port][/path]
};

}  // namespace gantry::nodeagent

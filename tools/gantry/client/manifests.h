// Objects in files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/model/schema.h"

namespace gantry::client {

struct Manifest {
  const model::Kind* kind = nullptr;
  std::string ns, name;  // ns is empty for what has no namespace
  nlohmann::json object;
  std::string source;  // the file, for messages
};

/// Reads files, folders (*.yaml, *.yml, *.json, in order of name) and `-` (stdin); Lists are taken apart. An object
/// without a namespace gets `default_namespace`. Errors name the file.
Result<std::vector<Manifest>> read_manifests(const std::vector<std::string>& files,
                                             const std::string& default_namespace);

}  // namespace gantry::client

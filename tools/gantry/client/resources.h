// How people name resources: pods, po, pod/web-1, deployments.apps, all.
#pragma once

#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/model/schema.h"

namespace gantry::client {

/// "deployment.apps/web": how kubectl names an object.
std::string qualified(const model::Kind& kind, const std::string& name);
/// Plural, singular, short name or kind, any case, with or without its group. kBadRequest in kubectl's words.
Result<const model::Kind*> find_kind(const std::string& word);
/// Comma-separated words; a category such as `all` stands for its kinds.
Result<std::vector<const model::Kind*>> find_kinds(const std::string& words);

/// One kind, and one object of it or (name empty) all.
struct Target {
  const model::Kind* kind = nullptr;
  std::string name;
};
/// Arguments as kubectl takes them: `pods`, `pods,services`, `pod web-1 web-2`, `pod/web-1 svc/web`.
Result<std::vector<Target>> parse_targets(const std::vector<std::string>& arguments);
/// The one object that is named; kBadRequest "name one `what`" if there are none or several.
Result<Target> parse_target(const std::vector<std::string>& arguments, std::string_view what = "object: KIND/NAME");
/// The name of the one pod that is named: `web-1` or `pod/web-1`.
Result<std::string> parse_pod(const std::vector<std::string>& arguments);

}  // namespace gantry::client

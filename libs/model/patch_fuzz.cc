// The input is two JSON texts after another (an object and a patch, divided by a zero byte): every kind of patch either
// fails or gives a tree that is no deeper than allowed, and gives the same again.
#include <glog/logging.h>

#include "libs/model/patch.h"
#include "libs/model/tree.h"

using namespace gantry::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t middle = std::min(text.find('\0'), text.size());
  const auto target = nlohmann::json::parse(text.substr(0, middle), nullptr, false);
  const auto patch = nlohmann::json::parse(middle == text.size() ? text : text.substr(middle + 1), nullptr, false);
  if (target.is_discarded() || patch.is_discarded() || !shallow(target) || !shallow(patch)) return 0;
  const auto check = [&](auto&& apply) {
    auto once = apply();
    if (!once.ok()) return;
    size_t budget = SIZE_MAX;
    CHECK(shallow(*once, 2 * kMaxTreeDepth + 2, budget));
    auto again = apply();
    CHECK(again.ok() && *again == *once);
  };
  check([&] { return merge_patch(target, patch); });
  check([&] { return json_patch(target, patch); });
  for (const char* resource : {"pods", "services", "deployments"}) {
    check([&] { return strategic_merge_patch(target, patch, *Schema::get().by_resource(resource)->type); });
  }
  return 0;
}

#include "libs/model/patch.h"

#include <fmt/format.h>

#include "libs/model/tree.h"

namespace gantry::model {

namespace {

using nlohmann::json;

constexpr size_t kMaxOperations = 10'000;
// Nodes that copies and moves of one patch may touch: a few copies of itself would let a document grow without bound.
constexpr size_t kCopyBudget = 200'000;

Error too_deep() { return {Code::kBadRequest, "the patch is nested too deeply"}; }

}  // namespace

bool shallow(const json& tree, size_t depth, size_t& budget) {
  if (depth == 0 || budget == 0) return false;
  --budget;
  if (!tree.is_structured()) return true;
  for (const auto& child : tree) {
    if (!shallow(child, depth - 1, budget)) return false;
  }
  return true;
}

Result<json> merge_patch(json target, const json& patch) {
  if (!shallow(patch)) return too_deep();
  target.merge_patch(patch);
  return target;
}

Result<json> json_patch(json target, const json& patch) {
  if (!patch.is_array()) return Error{Code::kBadRequest, "a JSON patch must be an array of operations"};
  if (patch.size() > kMaxOperations) {
    return Error{Code::kTooLarge, fmt::format("The allowed maximum operations in a JSON patch is {}, got {}",
                                              kMaxOperations, patch.size())};
  }
  if (!shallow(patch)) return too_deep();
  size_t budget = kCopyBudget;
  for (size_t i = 0; i < patch.size(); ++i) {
    const json& operation = patch[i];
    try {
      if (operation.is_object()) {
        for (const char* key : {"path", "from"}) {
          auto path = operation.find(key);
          if (path == operation.end() || !path->is_string()) continue;
          const auto& text = path->get_ref<const std::string&>();
          if (static_cast<size_t>(std::count(text.begin(), text.end(), '/')) > kMaxTreeDepth) return too_deep();
          if (std::string_view(key) == "from" && !shallow(target.at(json::json_pointer(text)), kMaxTreeDepth, budget)) {
            return Error{Code::kTooLarge, "the patch copies too much"};
          }
        }
      }
      target.patch_inplace(json::array({operation}));
    } catch (const json::parse_error& e) {
      return Error{Code::kBadRequest, fmt::format("operation {} of the JSON patch: {}", i, e.what())};
    } catch (const json::exception& e) {
      return Error{Code::kInvalid, fmt::format("operation {} of the JSON patch: {}", i, e.what())};
    }
  }
  budget = SIZE_MAX;
  if (!shallow(target, 2 * kMaxTreeDepth, budget)) return too_deep();
  return target;
}

}  // namespace gantry::model

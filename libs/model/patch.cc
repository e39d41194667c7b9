#include "libs/model/patch.h"

#include <fmt/format.h>

#include "libs/model/tree.h"

namespace gantry::model {

namespace {

using nlohmann::json;

constexpr size_t kMaxOperations = 10'000;
// Bytes that the copies of one patch may make: a few copies of itself would let a document grow without bound.
constexpr size_t kCopyBudget = 16 * 1024 * 1024;
// Bytes of array elements that one patch may shift: each operation at the front of a long array moves all of it.
constexpr size_t kShiftBudget = 256 * 1024 * 1024;

Error too_deep() { return {Code::kBadRequest, "the patch is nested too deeply"}; }

std::string text_of(const json& operation, const char* key) {
  const auto it = operation.is_object() ? operation.find(key) : operation.end();
  return operation.is_object() && it != operation.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// What the API says to test for: that nothing is there.
bool tests_absence(const json& target, const json& operation) {
  if (text_of(operation, "op") != "test") return false;
  const auto value = operation.find("value"), path = operation.find("path");
  return value != operation.end() && value->is_null() && path != operation.end() && path->is_string() &&
         !target.contains(json::json_pointer(path->get_ref<const std::string&>()));
}

// About how much memory a tree takes.
size_t weight(const json& tree) {
  size_t sum = sizeof(json);
  if (tree.is_string()) sum += tree.get_ref<const std::string&>().size();
  if (tree.is_object()) {
    for (const auto& [key, child] : tree.items()) sum += key.size() + weight(child);
  } else if (tree.is_array()) {
    for (const auto& child : tree) sum += weight(child);
  }
  return sum;
}

// What an operation at this place shifts.
size_t shifted(const json& target, const std::string& path) {
  const json::json_pointer place(path);
  if (place.empty() || !target.contains(place.parent_pointer())) return 0;
  const json& parent = target.at(place.parent_pointer());
  return parent.is_array() ? parent.size() * sizeof(json) : 0;
}

// Throws when nothing could be at `path`: nlohmann's patch asserts that something can, or does nothing.
void expect_container(const json& target, const std::string& path) {
  const json::json_pointer place(path);
  if (!place.empty() && !target.at(place.parent_pointer()).is_structured()) (void)target.at(place);  // throws
}

// Throws as `json::patch` does when `operation` is malformed or cannot be done.
void apply(json& target, const json& operation) {
  const std::string op = text_of(operation, "op"), path = text_of(operation, "path");
  const auto is_text = [&](const char* key) { return operation.contains(key) && operation[key].is_string(); };
  if (op == "move" && is_text("path") && is_text("from")) {
    const std::string from = text_of(operation, "from");
    json moved = target.at(json::json_pointer(from));
    // Taken apart, as what `path` means can change when `from` goes.
    apply(target, {{"op", "remove"}, {"path", from}});
    apply(target, {{"op", "add"}, {"path", path}, {"value", std::move(moved)}});
    return;
  }
  if (op == "add" || op == "remove" || op == "copy") expect_container(target, path);
  target.patch_inplace(json::array({operation}));
}

bool spend(size_t& budget, size_t cost) {
  if (cost > budget) return false;
  budget -= cost;
  return true;
}

// Why a well-formed operation cannot be done, in the API server's words.
std::string misfit(const json& operation, const json::exception& why) {
  constexpr int kTestFailed = 501;
  const std::string op = text_of(operation, "op"), path = text_of(operation, "path");
  if (why.id == kTestFailed) return fmt::format("testing value {} failed: test failed", path);
  if (op == "test") return fmt::format("error in test for path: '{}': missing value", path);
  if (op == "add") return fmt::format("add operation does not apply: doc is missing path: \"{}\": missing value", path);
  if (op == "remove" || op == "replace") {
    return fmt::format("{} operation does not apply: doc is missing key: {}: missing value", op, path);
  }
  if (op == "move" || op == "copy") {
    return fmt::format("{} operation does not apply: doc is missing from path: {}: missing value", op,
                       text_of(operation, "from"));
  }
  return why.what();
}

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
  size_t copies = kCopyBudget, shifts = kShiftBudget;
  for (size_t i = 0; i < patch.size(); ++i) {
    const json& operation = patch[i];
    try {
      if (operation.is_object()) {
        for (const char* key : {"path", "from"}) {
          auto path = operation.find(key);
          if (path == operation.end() || !path->is_string()) continue;
          const auto& text = path->get_ref<const std::string&>();
          if (static_cast<size_t>(std::count(text.begin(), text.end(), '/')) > kMaxTreeDepth) return too_deep();
          if (!spend(shifts, shifted(target, text))) return Error{Code::kTooLarge, "the patch shifts too much"};
          if (std::string_view(key) != "from") continue;
          const json& from = target.at(json::json_pointer(text));
          if (!shallow(from) || !spend(copies, weight(from)))
            return Error{Code::kTooLarge, "the patch copies too much"};
        }
        if (tests_absence(target, operation)) continue;
      }
      apply(target, operation);
    } catch (const json::parse_error& e) {
      return Error{Code::kBadRequest, fmt::format("error decoding patch: operation {}: {}", i, e.what())};
    } catch (const json::exception& e) {
      return Error{Code::kInvalid, misfit(operation, e)};
    }
  }
  size_t budget = SIZE_MAX;
  if (!shallow(target, 2 * kMaxTreeDepth, budget)) return too_deep();
  return target;
}

}  // namespace gantry::model

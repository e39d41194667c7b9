// YAML bodies as JSON, with the types that the API server gives to plain scalars: those of YAML 1.1, as it reads it
// with Go's yaml.v2.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "services/apigw/rest/body.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
// What aliases may make of a small document; a large one may double.
constexpr size_t kLeastBudget = 64 * 1024;

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

std::optional<json> whole_number(std::string_view digits, bool negative, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (!negative) return value <= INT64_MAX ? json(static_cast<int64_t>(value)) : json(value);
  if (value > uint64_t{1} << 63) return std::nullopt;
  return json(static_cast<int64_t>(~value + 1));
}

/// A number in a base that its prefix names, or decimal.
std::optional<json> number(std::string_view text) {
  const bool negative = text.starts_with('-');
  std::string_view digits = text;
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || digits.size() > 400) return std::nullopt;
  if (digits.size() > 1 && digits[0] == '0' && digits[1] != '.' && digits[1] != 'e' && digits[1] != 'E') {
    const auto base = digits[1] == 'x' ? 16 : digits[1] == 'b' ? 2 : 8;
    const auto rest = digits.substr(base == 8 && digits[1] != 'o' ? 1 : 2);
    if (auto whole = whole_number(rest, negative, base)) return whole;
  } else if (auto whole = whole_number(digits, negative, 10)) {
    return whole;
  }
  // strtod() would take words and hexadecimals, too.
  const bool plain = std::all_of(digits.begin(), digits.end(), [](char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
  });
  const bool has_digit = (digits[0] >= '0' && digits[0] <= '9') ||
                         (digits.size() > 1 && digits[0] == '.' && digits[1] >= '0' && digits[1] <= '9');
  if (!plain || !has_digit) return std::nullopt;
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || !std::isfinite(value)) return std::nullopt;
  return json(value);
}

json scalar(const YAML::Node& node) {
  const auto& text = node.Scalar();
  if (node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str") return text;  // quoted
  if (text.empty() || one_of(text, {"~", "null", "Null", "NULL"})) return nullptr;
  if (one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})) return true;
  if (one_of(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})) return false;
  if (auto value = number(text)) return std::move(*value);
  return text;
}

class Converter {
 public:
  explicit Converter(size_t budget) : budget_(budget) {}

  json convert(const YAML::Node& node, int depth) {
    if (depth > kMaxDepth) throw std::runtime_error("nested too deeply");
    take(1);
    switch (node.Type()) {
      case YAML::NodeType::Sequence: {
        json out = json::array();
        for (const auto& item : node) out.push_back(convert(item, depth + 1));
        return out;
      }
      case YAML::NodeType::Map: {
        json out = json::object();
        for (const auto& entry : node) {
          if (!entry.first.IsScalar()) throw std::runtime_error("a key is not a scalar");
          const auto& key = entry.first.Scalar();
          take(key.size());
          if (out.contains(key)) throw std::runtime_error("key \"" + key + "\" already set in map");
          out[key] = convert(entry.second, depth + 1);
        }
        return out;
      }
      case YAML::NodeType::Scalar:
        take(node.Scalar().size());
        return scalar(node);
      default:
        return nullptr;
    }
  }

 private:
  // An alias costs as much as what it stands for: a few of them in one another stand for more than there is memory.
  void take(size_t size) {
    if (size > budget_) throw std::runtime_error("document contains excessive aliasing");
    budget_ -= size;
  }

  size_t budget_;
};

}  // namespace

Result<std::string> yaml_to_json(const std::string& yaml) {
  try {
    return Converter(std::max(kLeastBudget, 2 * yaml.size())).convert(YAML::Load(yaml), 0).dump();
  } catch (const std::exception& e) {
    return Error{Code::kBadRequest, std::string("error parsing YAML: ") + e.what()};
  }
}

}  // namespace gantry::apigw

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "services/apigw/rest/body.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

json scalar(const YAML::Node& node) {
  const auto& text = node.Scalar();
  if (node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str") return text;  // quoted
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  static const std::regex kInteger("[-+]?[0-9]+"), kFloat(R"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)");
  if (std::regex_match(text, kInteger)) {
    errno = 0;
    long long value = std::strtoll(text.c_str(), nullptr, 10);
    if (errno == 0) return value;
  }
  if (std::regex_match(text, kFloat)) return std::strtod(text.c_str(), nullptr);
  return text;
}

json convert(const YAML::Node& node, int depth) {
  if (depth > kMaxDepth) throw std::runtime_error("nested too deeply");
  switch (node.Type()) {
    case YAML::NodeType::Sequence: {
      json out = json::array();
      for (const auto& item : node) out.push_back(convert(item, depth + 1));
      return out;
    }
    case YAML::NodeType::Map: {
      json out = json::object();
      for (const auto& entry : node) {
        auto key = entry.first.as<std::string>();
        if (out.contains(key)) throw std::runtime_error("key \"" + key + "\" already set in map");
        out[key] = convert(entry.second, depth + 1);
      }
      return out;
    }
    case YAML::NodeType::Scalar:
      return scalar(node);
    default:
      return nullptr;
  }
}

}  // namespace

Result<std::string> yaml_to_json(const std::string& yaml) {
  try {
    return convert(YAML::Load(yaml), 0).dump();
  } catch (const std::exception& e) {
    return Error{Code::kBadRequest, std::string("error parsing YAML: ") + e.what()};
  }
}

}  // namespace gantry::apigw

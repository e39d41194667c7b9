// The operations of the Kubernetes API's stable versions: each path with its method and query parameters, as the fact
// tables beside the repository list them or, without these, as the gateway's own OpenAPI document does (facts_test.cc
// proves that this leaves nothing out).
#pragma once

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "services/apigw/rest/openapi.h"

namespace gantry::apigw::testing {

struct Operation {
  std::string method, path, action, kind;  // kind: "apps/v1/Scale"
  std::string parameters;                  // separated by commas

  std::vector<std::string> parameter_list() const {
    std::vector<std::string> out;
    std::stringstream list(parameters);
    for (std::string name; std::getline(list, name, ',');) out.push_back(name);
    return out;
  }
};

/// Empty without the fact tables.
inline std::vector<Operation> reference_operations() {
  const char* folder = std::getenv("GANTRY_FACTS");
  std::ifstream file(std::string(folder ? folder : "../shared/reference") + "/kubernetes-1.34-paths.tsv");
  static const std::regex kUnstable("/v[0-9]+(alpha|beta)[0-9]+(/|$)");
  std::vector<Operation> out;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#") || std::regex_search(line, kUnstable)) continue;
    std::stringstream columns(line);
    Operation one;
    for (auto* column : {&one.method, &one.path, &one.action, &one.kind, &one.parameters})
      std::getline(columns, *column, '\t');
    if (!one.kind.empty()) out.push_back(one);
  }
  return out;
}

inline std::vector<Operation> documented_operations() {
  std::vector<Operation> out;
  const auto tree = nlohmann::json::parse(openapi_document("/openapi/v2", "")->body);
  for (const auto& [path, item] : tree["paths"].items()) {
    for (const auto& [method, what] : item.items()) {
      if (!what.is_object() || !what.contains("x-kubernetes-action")) continue;
      const auto& gvk = what["x-kubernetes-group-version-kind"];
      const std::string group = gvk["group"], version = gvk["version"], kind = gvk["kind"];
      if (version != "v1" && version != "v2") continue;
      Operation one{method, path, what["x-kubernetes-action"],
                    (group.empty() ? "core" : group) + "/" + version + "/" + kind, ""};
      for (char& c : one.method) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      for (const auto& p : what.value("parameters", nlohmann::json::array())) {
        if (p["in"] == "query") one.parameters += (one.parameters.empty() ? "" : ",") + p["name"].get<std::string>();
      }
      out.push_back(one);
    }
  }
  return out;
}

inline const std::vector<Operation>& stable_operations() {
  static const auto* all = [] {
    auto* out = new std::vector<Operation>(reference_operations());
    if (out->empty()) *out = documented_operations();
    return out;
  }();
  return *all;
}

}  // namespace gantry::apigw::testing

// Text in columns, as kubectl prints it. Pure functions, any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace gantry::client {

/// Columns wide enough for their widest cell, three spaces apart.
std::string align(const std::vector<std::vector<std::string>>& rows);

struct TableOptions {
  bool wide = false;        // columns of lower priority too
  bool namespaces = false;  // a first column NAMESPACE
  bool headers = true;
  std::string prefix;  // before each name, e.g. "deployment.apps/"
};
/// A meta.k8s.io/v1 Table.
std::string print_table(const nlohmann::json& table, const TableOptions& options);

}  // namespace gantry::client

#include "tools/gantry/client/table.h"

#include <algorithm>

namespace gantry::client {
namespace {

using nlohmann::json;

/// Characters, not bytes.
size_t width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string cell_text(const json& cell) {
  if (cell.is_string()) return cell.get<std::string>();
  if (cell.is_null()) return "<none>";
  return cell.dump();
}

}  // namespace

std::string align(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - width(row[i]) + 3, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string print_table(const json& table, const TableOptions& options) {
  std::vector<size_t> shown;
  std::vector<std::string> head;
  if (options.namespaces) head.emplace_back("NAMESPACE");
  const auto columns = table.value("columnDefinitions", json::array());
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].value("priority", 0) != 0 && !options.wide) continue;
    shown.push_back(i);
    head.push_back(upper(columns[i].value("name", "")));
  }
  std::vector<std::vector<std::string>> rows;
  if (options.headers) rows.push_back(std::move(head));
  for (const auto& row : table.value("rows", json::array())) {
    std::vector<std::string> line;
    if (options.namespaces) line.push_back(row.value("/object/metadata/namespace"_json_pointer, ""));
    const auto& cells = row.at("cells");
    for (const size_t i : shown) {
      std::string text = i < cells.size() ? cell_text(cells[i]) : "";
      line.push_back(i == 0 ? options.prefix + text : std::move(text));
    }
    rows.push_back(std::move(line));
  }
  return align(rows);
}

}  // namespace gantry::client

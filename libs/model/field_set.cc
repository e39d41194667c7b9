#include "libs/model/field_set.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "libs/model/json_text.h"

namespace gantry::model {

namespace {

namespace dom = simdjson::dom;

constexpr size_t kMaxDepth = 64;

bool before(const FieldSet::Node& node, std::string_view element) { return node.element < element; }

bool known_element(std::string_view element) {
  return element.size() >= 2 && element[1] == ':' &&
         std::string_view("fkvi").find(element[0]) != std::string_view::npos;
}

// Keys and values have one text, whatever the client has written.
bool canonical(std::string_view element, std::string& out) {
  if (element[0] == 'f' || element[0] == 'i') {
    out = element;
    return true;
  }
  const auto tree = nlohmann::json::parse(element.substr(2), nullptr, false);
  if (tree.is_discarded() || (element[0] == 'k') != tree.is_object()) return false;
  out = std::string(element.substr(0, 2)) + tree.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return true;
}

bool read(const dom::object& object, FieldSet& set, bool* member, size_t depth) {
  if (depth == 0) return false;
  for (auto [key, value] : object) {
    dom::object below;
    if (value.get_object().get(below) != simdjson::SUCCESS) return false;
    if (key == ".") {
      if (member != nullptr) *member = true;
      continue;
    }
    std::string element;
    if (!known_element(key) || !canonical(key, element)) return false;
    FieldSet::Node* node = set.add(element);
    if (!read(below, node->below, &node->member, depth - 1)) return false;
    if (node->below.empty()) node->member = true;
  }
  return true;
}

}  // namespace

const FieldSet::Node* FieldSet::find(std::string_view element) const {
  const auto it = std::lower_bound(nodes_.begin(), nodes_.end(), element, before);
  return it != nodes_.end() && it->element == element ? &*it : nullptr;
}

FieldSet::Node* FieldSet::add(std::string_view element) {
  if (nodes_.empty() || nodes_.back().element < element) {
    nodes_.push_back({std::string(element), false, {}});
    return &nodes_.back();
  }
  auto it = std::lower_bound(nodes_.begin(), nodes_.end(), element, before);
  if (it->element != element) it = nodes_.insert(it, {std::string(element), false, {}});
  return &*it;
}

FieldSet::Node& FieldSet::append(std::string element) {
  nodes_.push_back({std::move(element), false, {}});
  return nodes_.back();
}

void FieldSet::sort() {
  const auto less = [](const Node& a, const Node& b) { return a.element < b.element; };
  if (!std::is_sorted(nodes_.begin(), nodes_.end(), less)) std::sort(nodes_.begin(), nodes_.end(), less);
}

void FieldSet::shrink() {
  std::erase_if(nodes_, [](const Node& node) { return !node.member && node.below.empty(); });
}

void FieldSet::insert(const Path& path) {
  FieldSet* level = this;
  for (size_t i = 0; i < path.size(); ++i) {
    Node* node = level->add(path[i]);
    if (i + 1 == path.size()) node->member = true;
    level = &node->below;
  }
}

void FieldSet::erase(const Path& path) {
  std::vector<FieldSet*> levels{this};
  for (size_t i = 0; i < path.size(); ++i) {
    auto* node = const_cast<Node*>(levels.back()->find(path[i]));
    if (node == nullptr) return;
    if (i + 1 == path.size()) node->member = false;
    levels.push_back(&node->below);
  }
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) (*level)->shrink();
}

bool FieldSet::has(const Path& path) const {
  const FieldSet* level = this;
  const Node* node = nullptr;
  for (const auto element : path) {
    node = level->find(element);
    if (node == nullptr) return false;
    level = &node->below;
  }
  return node != nullptr && node->member;
}

FieldSet FieldSet::united(const FieldSet& other) const {
  FieldSet out;
  out.nodes_.reserve(std::max(nodes_.size(), other.nodes_.size()));
  auto a = nodes_.begin(), b = other.nodes_.begin();
  while (a != nodes_.end() || b != other.nodes_.end()) {
    if (b == other.nodes_.end() || (a != nodes_.end() && a->element < b->element)) {
      out.nodes_.push_back(*a++);
    } else if (a == nodes_.end() || b->element < a->element) {
      out.nodes_.push_back(*b++);
    } else {
      out.nodes_.push_back({a->element, a->member || b->member, a->below.united(b->below)});
      ++a, ++b;
    }
  }
  return out;
}

FieldSet FieldSet::without(const FieldSet& other) const {
  FieldSet out;
  for (const Node& node : nodes_) {
    const Node* gone = other.find(node.element);
    if (gone == nullptr) {
      out.nodes_.push_back(node);
      continue;
    }
    Node kept{node.element, node.member && !gone->member, node.below.without(gone->below)};
    if (kept.member || !kept.below.empty()) out.nodes_.push_back(std::move(kept));
  }
  return out;
}

FieldSet FieldSet::common(const FieldSet& other) const {
  FieldSet out;
  for (const Node& node : nodes_) {
    const Node* there = other.find(node.element);
    if (there == nullptr) continue;
    Node kept{node.element, node.member && there->member, node.below.common(there->below)};
    if (kept.member || !kept.below.empty()) out.nodes_.push_back(std::move(kept));
  }
  return out;
}

bool FieldSet::operator==(const FieldSet& other) const { return nodes_ == other.nodes_; }

void FieldSet::visit(Path& path, const std::function<void(const Path&)>& visit) const {
  for (const Node& node : nodes_) {
    path.push_back(node.element);
    if (node.member) visit(path);
    node.below.visit(path, visit);
    path.pop_back();
  }
}

void FieldSet::for_each(const std::function<void(const Path&)>& visitor) const {
  Path path;
  visit(path, visitor);
}

void FieldSet::write(std::string& out, bool member) const {
  out += '{';
  // A member that has nothing below is just {}.
  bool first = true;
  if (member && !nodes_.empty()) {
    out += R"(".":{})";
    first = false;
  }
  for (const Node& node : nodes_) {
    if (!first) out += ',';
    first = false;
    write_json_string(node.element, out);
    out += ':';
    node.below.write(out, node.member);
  }
  out += '}';
}

std::string FieldSet::to_json() const {
  std::string out;
  out.reserve(512);
  write(out, false);
  return out;
}

Result<FieldSet> FieldSet::from_json(std::string_view text) {
  thread_local dom::parser parser;
  dom::object root;
  FieldSet set;
  if (parser.parse(text.data(), text.size()).get_object().get(root) != simdjson::SUCCESS ||
      !read(root, set, nullptr, kMaxDepth)) {
    return Error{Code::kBadRequest, "the fields are no FieldsV1"};
  }
  return set;
}

std::string to_string(const FieldSet::Path& path) {
  std::string out;
  for (const auto element : path) {
    const auto text = element.substr(2);
    if (element[0] == 'f') {
      out += fmt::format(".{}", text);
    } else if (element[0] == 'v') {
      out += fmt::format("[={}]", text);
    } else if (element[0] == 'i') {
      out += fmt::format("[{}]", text);
    } else {
      out += '[';
      const auto keys = nlohmann::json::parse(text, nullptr, false);
      bool first = true;
      for (const auto& [key, value] : keys.items()) {
        out += fmt::format("{}{}={}", first ? "" : ",", key, value.dump());
        first = false;
      }
      out += ']';
    }
  }
  return out;
}

}  // namespace gantry::model

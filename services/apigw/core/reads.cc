#include "services/apigw/core/reads.h"

#include <fmt/format.h>

#include <charconv>

#include "libs/base/ids.h"
#include "services/apigw/core/scale.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;

constexpr const char* kExpiredToken =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use "
    "the continue token in this response to retrieve the remainder of the results. Continuing with the provided token "
    "results in an inconsistent "
    "list - objects that were created, modified, or deleted between the time the first chunk was returned and now may "
    "show up in the list.";

// The token to go on without consistency travels as a cause: Error has no other place, and HTTP puts it into
// metadata.continue.
Error expired_token(const Position& position) {
  Error error{Code::kExpired, kExpiredToken};
  error.causes.push_back({"ContinueToken", Position{0, position.key}.encode(), "metadata.continue"});
  return error;
}

// By name or by node there is no need to look at everything.
bool list_by_index(const Mirror& mirror, const Filter& filter, const std::function<void(const Object&)>& visit) {
  const std::string* name = filter.fields.required("metadata.name");
  if (name != nullptr && (!filter.ns.empty() || !mirror.kind().namespaced)) {
    if (const Object* object = mirror.find(filter.ns, *name)) visit(*object);
    return true;
  }
  const std::string* node = filter.fields.required("spec.nodeName");
  if (node == nullptr || mirror.kind().resource != "pods") return false;
  std::map<std::string, Object> sorted;
  mirror.cache().for_each_by("node", *node, [&](const Object& object) { sorted.emplace(key_of(object), object); });
  for (const auto& [key, object] : sorted) visit(object);
  return true;
}

}  // namespace

std::string key_of(const Object& object) { return fmt::format("{}/{}", object.ns(), object.name()); }

Result<Filter> Filter::make(const model::Kind& kind, std::string ns, std::string name, std::string_view labels,
                            std::string_view fields) {
  auto label_selector = model::LabelSelector::parse(labels);
  if (!label_selector.ok()) return std::move(label_selector.error());
  auto field_selector = model::FieldSelector::parse(kind, fields);
  if (!field_selector.ok()) return std::move(field_selector.error());
  return Filter{std::move(ns), std::move(name), std::move(*label_selector), std::move(*field_selector)};
}

bool Filter::matches(const Object& object) const {
  if (!object) return false;
  if (!ns.empty() && object.ns() != ns) return false;
  if (!name.empty() && object.name() != name) return false;
  if (!labels.everything() && !labels.matches(object.meta() == nullptr ? nullptr : object.meta()->labels()))
    return false;
  return fields.everything() || fields.matches(object);
}

std::optional<View> View::at(const Mirror& mirror, uint64_t revision) {
  View view;
  view.mirror_ = &mirror;
  view.revision_ = revision == 0 ? mirror.revision() : revision;
  const auto first = mirror.after(view.revision_);
  if (!first) return std::nullopt;
  for (uint64_t n = *first; n < mirror.end(); ++n) {
    const auto& entry = mirror.entry(n);
    view.undone_.emplace(key_of(entry.after ? entry.after : entry.before), entry.before);  // the earliest change counts
  }
  return view;
}

void View::for_each(std::string_view ns, std::string_view after,
                    const std::function<void(const Object&)>& visit) const {
  auto old = undone_.upper_bound(std::string(after));
  const auto visit_old = [&](const Object& object) {
    if (object && (ns.empty() || object.ns() == ns)) visit(object);
  };
  const auto visit_now = [&](const Object& object) {
    const std::string key = key_of(object);
    if (key <= after) return;
    for (; old != undone_.end() && old->first < key; ++old) visit_old(old->second);
    if (old != undone_.end() && old->first == key) {
      visit_old(old->second);
      ++old;
    } else {
      visit(object);
    }
  };
  if (ns.empty()) {
    mirror_->cache().for_each(visit_now);
  } else {
    mirror_->cache().for_each_in(ns, visit_now);
  }
  for (; old != undone_.end(); ++old) visit_old(old->second);
}

std::string Position::encode() const { return encode_token(fmt::format("{}|{}", revision, key)); }

Result<Position> Position::decode(const std::string& token) {
  Position position;
  const auto text = decode_token(token);
  const size_t bar = text ? text->find('|') : std::string::npos;
  if (bar == std::string::npos) return bad_request("continue key is not valid: " + token);
  std::from_chars(text->data(), text->data() + bar, position.revision);
  position.key = text->substr(bar + 1);
  return position;
}

Result<Answer> get(const Mirror& mirror, const bus::Command& command) {
  if (command.revision > mirror.revision()) return too_large_revision(command.revision, mirror.revision());
  const Object* object = mirror.find(command.ns, command.name);
  if (object == nullptr) return not_found(mirror.kind(), command.name);
  Answer answer;
  answer.kind = &mirror.kind();
  answer.object = *object;
  answer.revision = object->revision();
  if (command.subresource == "scale") present_scale(answer);
  return answer;
}

Result<Answer> list(const Mirror& mirror, const bus::Command& command) {
  auto filter = Filter::make(mirror.kind(), command.ns, command.name, command.label_selector, command.field_selector);
  if (!filter.ok()) return std::move(filter.error());
  Position position;
  if (!command.continue_token.empty()) {
    auto decoded = Position::decode(command.continue_token);
    if (!decoded.ok()) return std::move(decoded.error());
    position = std::move(*decoded);
  } else if (command.revision > mirror.revision()) {
    return too_large_revision(command.revision, mirror.revision());
  }
  const auto view = View::at(mirror, position.revision);
  if (!view) return expired_token(position);
  Answer answer;
  answer.outcome = Answer::Outcome::kList;
  answer.kind = &mirror.kind();
  answer.revision = view->revision();
  int64_t left = 0;
  const auto take = [&](const Object& object) {
    if (!filter->matches(object)) return;
    if (command.limit == 0 || answer.items.size() < command.limit) {
      answer.items.push_back(object);
    } else {
      ++left;
    }
  };
  const bool indexed = command.limit == 0 && command.continue_token.empty() && list_by_index(mirror, *filter, take);
  if (!indexed) view->for_each(command.ns, position.key, take);
  if (left > 0) {
    answer.continue_token = Position{view->revision(), key_of(answer.items.back())}.encode();
    if (!filter->narrow()) answer.remaining = left;
  }
  return answer;
}

}  // namespace gantry::apigw

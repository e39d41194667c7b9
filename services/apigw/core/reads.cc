#include "services/apigw/core/reads.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "services/apigw/authn/jwt.h"
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

constexpr const char* kExpiredRevision = "The resourceVersion for the provided list is too old.";
constexpr auto kFutureWait = std::chrono::seconds(3);

// The token to go on without consistency travels as a cause: Error has no other place, and HTTP puts it into
// metadata.continue.
Error expired_token(const Position& position) {
  Error error{Code::kExpired, kExpiredToken};
  error.causes.push_back({"ContinueToken", Position{0, position.key}.encode(), "metadata.continue"});
  return error;
}

// By name or by node there is no need to look at everything. False: look at everything.
bool list_by_index(const Mirror& mirror, const Filter& filter, const std::function<void(const Object&)>& visit) {
  const std::string* name = filter.fields.required("metadata.name");
  if (name != nullptr && (!filter.ns.empty() || !mirror.kind().namespaced)) {
    if (const Object* object = mirror.find(filter.ns, *name)) visit(*object);
    return true;
  }
  const std::string* node = filter.fields.required("spec.nodeName");
  if (node == nullptr || mirror.kind().resource != "pods") return false;
  mirror.cache().for_each_by("node", *node, visit);
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
  view.undone_ = mirror.undone(view.revision_);
  if (!view.undone_) return std::nullopt;
  return view;
}

void View::for_each(std::string_view ns, std::string_view after, const Visit& visit) const {
  const std::string prefix = ns.empty() ? std::string() : fmt::format("{}/", ns);
  auto old = after < prefix ? undone_->lower_bound(prefix) : undone_->upper_bound(after);
  const auto old_left = [&] { return old != undone_->end() && old->first.starts_with(prefix); };
  const auto visit_old = [&] {
    const auto& object = (old++)->second;
    return !object || visit(object);
  };
  bool more = true;
  mirror_->cache().for_each_after(ns, after, [&](const std::string& key, const Object& object) {
    while (more && old_left() && old->first < key) more = visit_old();
    if (more) more = old_left() && old->first == key ? visit_old() : visit(object);
    return more;
  });
  while (more && old_left()) more = visit_old();
}

std::string Position::encode() const {
  nlohmann::json token = {{"v", "meta.k8s.io/v1"}, {"rv", revision}, {"start", key}};
  if (left) token["left"] = *left;
  return encode_base64url(token.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

Result<Position> Position::decode(const std::string& token) {
  const auto invalid = [](const char* why) { return bad_request(fmt::format("continue key is not valid: {}", why)); };
  std::string_view bare = token;
  while (bare.ends_with('=')) bare.remove_suffix(1);
  const auto text = decode_base64url(bare);
  if (!text) return invalid("illegal base64 data");
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("v") || json["v"] != "meta.k8s.io/v1") return invalid("unknown version");
  Position position;
  if (!json.contains("rv") || !json["rv"].is_number_unsigned())
    return invalid("incorrect encoded start resourceVersion");
  if (!json.contains("start") || !json["start"].is_string()) return invalid("encoded start key empty or invalid");
  position.revision = json["rv"];
  position.key = json["start"];
  if (json.contains("left") && json["left"].is_number_integer()) position.left = json["left"].get<int64_t>();
  return position;
}

void await_view(Mirror& mirror, const bus::Command& command, Mirror::Done done) {
  const uint64_t wanted = command.revision;
  const auto await_wanted = [&mirror, wanted](Mirror::Done told) {
    const auto in_time = [&mirror, wanted, told = std::move(told)](Status status) {
      if (!status.ok() && status.code() == Code::kTimeout && mirror.synced() && mirror.revision() < wanted)
        return told(too_large_revision(wanted, mirror.revision()));
      told(std::move(status));
    };
    mirror.await(wanted, in_time, kFutureWait);
  };
  if (!command.continue_token.empty() || command.match == bus::Match::kNewest || !mirror.synced()) {
    // A page may have begun at another gateway, which was ahead of this one.
    return mirror.at_head([await_wanted, done = std::move(done)](Status status) mutable {
      status.ok() ? await_wanted(std::move(done)) : done(std::move(status));
    });
  }
  await_wanted(std::move(done));
}

Result<Answer> get(const Mirror& mirror, const bus::Command& command) {
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
  } else if (command.match == bus::Match::kExact) {
    position.revision = command.revision;
  }
  if (position.revision > mirror.revision()) return too_large_revision(position.revision, mirror.revision());
  const auto view = View::at(mirror, position.revision);
  if (!view) {
    return command.continue_token.empty() ? Error{Code::kExpired, kExpiredRevision} : expired_token(position);
  }
  Answer answer;
  answer.outcome = Answer::Outcome::kList;
  answer.kind = &mirror.kind();
  answer.revision = view->revision();
  int64_t left = 0;  // behind this page
  const bool count = !filter->narrow() && !position.left;
  const auto take = [&](const Object& object) {
    if (!filter->matches(object)) return true;
    if (command.limit == 0 || answer.items.size() < command.limit) {
      answer.items.push_back(object);
      return true;
    }
    ++left;
    return count;  // otherwise it is enough to know that there is more
  };
  const bool indexed = view->is_now() && list_by_index(mirror, *filter, [&](const Object& object) {
                         if (position.key.empty() || key_of(object) > position.key) take(object);
                       });
  if (!indexed) view->for_each(command.ns, position.key, take);
  if (left == 0) return answer;
  Position next{view->revision(), key_of(answer.items.back())};
  if (!filter->narrow()) {
    next.left = count ? left : std::max<int64_t>(1, *position.left - static_cast<int64_t>(answer.items.size()));
    answer.remaining = next.left;
  }
  answer.continue_token = next.encode();
  return answer;
}

}  // namespace gantry::apigw

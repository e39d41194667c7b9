#include "services/nodeagent/agent/testing/fake_api.h"

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::testing {

using model::str;

namespace {
const model::Kind& pod_kind() { return *model::Schema::get().by_resource("pods"); }
}  // namespace

FakeApi::FakeApi(Loop& loop) : pods(pod_kind()), loop_(loop) { pods.mark_synced(); }

uint64_t FakeApi::put(const std::string& resource, const std::string& json) {
  const auto& kind = *model::Schema::get().by_resource(resource);
  auto bytes = model::from_json(kind, json);
  CHECK(bytes.ok()) << bytes.error().message;
  model::Object object(kind, std::move(*bytes), ++revision_);
  if (resource == "pods") {
    pods.put(std::move(object), revision_);
  } else {
    objects[fmt::format("{}/{}/{}", resource, object.ns(), object.name())] = object;
  }
  return revision_;
}

void FakeApi::delete_pod(const std::string& ns, const std::string& name, int64_t grace_seconds) {
  const auto* pod = pods.find(ns, name);
  CHECK(pod != nullptr);
  model::Draft draft(*pod);
  draft.set("metadata.deletionTimestamp", loop_.wall() / 1'000'000 + grace_seconds);
  draft.set("metadata.deletionGracePeriodSeconds", grace_seconds);
  auto changed = draft.build(++revision_);
  pods.put(std::move(changed), revision_);
}

void FakeApi::set_status(const std::string& ns, const std::string& name, const std::string& status) {
  const auto* pod = pods.find(ns, name);
  CHECK(pod != nullptr);
  model::Draft draft(*pod);
  const auto done = draft.set_json("status", status);
  CHECK(done.ok()) << done.error().message;
  auto changed = draft.build(++revision_);
  pods.put(std::move(changed), revision_);
}

void FakeApi::remove_pod(const std::string& ns, const std::string& name) { pods.remove(ns, name, ++revision_); }

std::string FakeApi::status_json(const std::string& ns, const std::string& name) const {
  const auto* pod = pods.find(ns, name);
  if (pod == nullptr || pod->as<api::core_v1::Pod>()->status() == nullptr) return "{}";
  const auto* type = model::Schema::get().type("gantry.api.core_v1.PodStatus");
  return model::to_json(*type, reinterpret_cast<const flatbuffers::Table*>(pod->as<api::core_v1::Pod>()->status()));
}

std::string FakeApi::phase(const std::string& ns, const std::string& name) const {
  const auto* pod = pods.find(ns, name);
  const auto* status = pod ? pod->as<api::core_v1::Pod>()->status() : nullptr;
  return status ? std::string(str(status->phase())) : "";
}

bool FakeApi::ready(const std::string& ns, const std::string& name) const {
  const auto* pod = pods.find(ns, name);
  const auto* status = pod ? pod->as<api::core_v1::Pod>()->status() : nullptr;
  if (status == nullptr || status->conditions() == nullptr) return false;
  for (const auto* c : *status->conditions()) {
    if (str(c->type()) == "Ready") return str(c->status()) == "True";
  }
  return false;
}

void FakeApi::fail_next(bus::Verb verb, const std::string& resource, Error error) {
  failures_[{verb, resource}].push_back(std::move(error));
}

void FakeApi::send(bus::Command command, Duration, bus::CommandDone done) {
  commands.push_back(command);
  std::optional<Error> failure;
  auto& queue = failures_[{command.verb, command.resource}];
  if (!queue.empty()) {
    failure = queue.front();
    queue.pop_front();
  }
  loop_.post([this, command = std::move(command), done = std::move(done), failure] {
    if (failure && failure->code != Code::kUnknownOutcome) return done(*failure);
    auto outcome = handle(command);
    if (failure) return done(*failure);
    done(std::move(outcome));
  });
}

Result<bus::CommandOutcome> FakeApi::handle(const bus::Command& c) {
  bus::CommandOutcome outcome;
  auto key = fmt::format("{}/{}/{}", c.resource, c.ns, c.name);
  if (c.subresource == "token") {
    const auto& kind = *model::Schema::get().by_kind("authentication.k8s.io", "v1", "TokenRequest");
    auto bytes =
        model::from_json(kind, fmt::format(R"({{"status":{{"token":"token-{}","expirationTimestamp":"{}"}}}})",
                                           ++tokens, model::format_time(loop_.wall() / 1'000'000 + token_seconds)));
    CHECK(bytes.ok()) << bytes.error().message;
    outcome.object = std::move(*bytes);
    return outcome;
  }
  if (c.resource != "pods") {
    auto found = objects.find(key);
    if (c.verb != bus::Verb::Get) {
      if (c.verb == bus::Verb::Create && found != objects.end())
        return Error{Code::kAlreadyExists, key + " already exists"};
      if (c.object.empty()) return outcome;
      objects[key] = model::Object(*model::Schema::get().by_resource(c.resource), c.object, ++revision_);
      return outcome;
    }
    if (found == objects.end()) return Error{Code::kNotFound, key + " not found"};
    outcome.object = found->second.bytes();
    outcome.revision = found->second.revision();
    return outcome;
  }
  const auto* pod = pods.find(c.ns, c.name);
  if (c.verb == bus::Verb::Create) {
    if (pod != nullptr) return Error{Code::kAlreadyExists, key + " already exists"};
    model::Draft draft(model::Object(pod_kind(), c.object));
    draft.set("metadata.uid", fmt::format("api-{}", ++revision_));
    pods.put(draft.build(revision_), revision_);
    return outcome;
  }
  if (pod == nullptr) return Error{Code::kNotFound, key + " not found"};
  if (!c.uid.empty() && pod->uid() != c.uid) return Error{Code::kConflict, "uid"};
  if (c.verb == bus::Verb::Delete) {
    pods.remove(c.ns, c.name, ++revision_);
    return outcome;
  }
  if (c.verb == bus::Verb::Update && c.subresource == "status") {
    auto sequence = std::make_pair(c.sequence_epoch, c.sequence_number);
    if (sequence <= sequences_[c.uid]) return Error{Code::kConflict, "stale"};
    sequences_[c.uid] = sequence;
    CHECK(model::verify(*pod_kind().type, c.object));
    model::Object report(pod_kind(), c.object);
    model::Draft draft(*pod);
    draft.copy("status", report.as<api::core_v1::Pod>()->status());
    auto changed = draft.build(++revision_);
    outcome.revision = revision_;
    pods.put(std::move(changed), revision_);
    return outcome;
  }
  return Error{Code::kMethodNotAllowed, "not served by the fake"};
}

}  // namespace gantry::testing

#include "services/nodeagent/agent/reference_store.h"

#include <nlohmann/json.hpp>

#include "schemas/api/authentication_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"

namespace gantry::nodeagent {

namespace {
constexpr Duration kRetry = std::chrono::seconds(2);

/// What says how a volume is mounted: never from memory, as nobody tells when it changes.
bool always_fresh(const std::string& resource) {
  return resource == "persistentvolumeclaims" || resource == "persistentvolumes" || resource == "csidrivers";
}

bool namespaced(const std::string& resource) { return resource != "persistentvolumes" && resource != "csidrivers"; }

/// What must be known besides `object`: of a claim its volume, of a volume its driver.
std::vector<Reference> beyond(const model::Object& object) {
  if (object.kind().resource == "persistentvolumeclaims") {
    const auto* spec = object.as<core::PersistentVolumeClaim>()->spec();
    if (spec != nullptr && !model::str(spec->volume_name()).empty())
      return {{"persistentvolumes", std::string(model::str(spec->volume_name()))}};
  } else if (object.kind().resource == "persistentvolumes") {
    const auto* spec = object.as<core::PersistentVolume>()->spec();
    if (spec != nullptr && spec->csi() != nullptr)
      return {{"csidrivers", std::string(model::str(spec->csi()->driver()))}};
  }
  return {};
}
}  // namespace

void ReferenceStore::listen(bus::Bus& bus, const std::string& node) {
  for (const char* resource : {"configmaps", "secrets", "persistentvolumeclaims"}) {
    bus::FeedCallbacks callbacks;
    callbacks.reset = [this, resource = std::string(resource)](uint64_t, const auto&) {
      // What was announced meanwhile is not known: look at all.
      std::vector<Key> keys;
      for (const auto& [key, _] : known_) {
        if (key[0] == resource) keys.push_back(key);
      }
      for (const auto& key : keys) refresh(key);
    };
    callbacks.event = [this](const bus::Event& event) {
      Key key{std::string(model::str(event.resource())), std::string(model::str(event.namespace_())),
              std::string(model::str(event.name()))};
      refresh(key);
    };
    callbacks.synced = [] {};
    feeds_.push_back(bus::make_feed(loop_, bus, commands_, bus::Chain{resource, node, ""}, std::move(callbacks)));
  }
}

void ReferenceStore::ensure(const std::string& ns, const std::vector<Reference>& references,
                            std::function<void(Status)> done) {
  struct Waiting {
    size_t left = 1;
    Status outcome = gantry::Done{};
    std::function<void(Status)> done;
    void finish(const Status& s) {
      if (!s.ok()) outcome = s;
      if (--left == 0) done(outcome);
    }
  };
  auto waiting = std::make_shared<Waiting>();
  waiting->done = std::move(done);
  for (const auto& r : references) {
    Key key{r.resource, namespaced(r.resource) ? ns : "", r.name};
    if (always_fresh(r.resource)) {
      ++waiting->left;
      fetch(key, [waiting](Status s) { waiting->finish(s); });
      continue;
    }
    if (auto found = known_.find(key); found != known_.end() && found->second) continue;
    ++waiting->left;
    fetch(key, [waiting](Status s) { waiting->finish(s); });
  }
  waiting->finish(gantry::Done{});
}

void ReferenceStore::fetch(const Key& key, std::function<void(Status)> done) {
  if (key[0] == kTokens) return fetch_token(key, std::move(done));
  bus::Command command;
  command.verb = bus::Verb::Get;
  command.resource = key[0];
  command.ns = key[1];
  command.name = key[2];
  commands_.send(std::move(command), [this, key, done = std::move(done),
                                      weak = std::weak_ptr<bool>(alive_)](Result<bus::CommandOutcome> r) {
    if (weak.expired()) return;
    if (!r.ok() && r.code() != Code::kNotFound && r.code() != Code::kForbidden) return done(r.error());
    if (!r.ok()) {
      known_[key] = {};
      return done(gantry::Done{});
    }
    const auto* kind = model::Schema::get().by_resource(key[0]);
    if (!model::verify(*kind->type, r->object))
      return done(Error{Code::kInternal, "the gateway's answer is not well-formed"});
    model::Object object(*kind, std::move(r->object), r->revision);
    known_[key] = object;
    if (auto more = beyond(object); !more.empty()) return ensure(key[1], more, done);
    done(gantry::Done{});
  });
}

void ReferenceStore::fetch_token(const Key& key, std::function<void(Status)> done) {
  const TokenName wanted = TokenName::decode(key[2]);
  nlohmann::json spec{
      {"expirationSeconds", wanted.seconds},
      {"boundObjectRef", {{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", wanted.pod}, {"uid", wanted.pod_uid}}},
      {"audiences", nlohmann::json::array()}};
  if (!wanted.audience.empty()) spec["audiences"].push_back(wanted.audience);
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "serviceaccounts";
  command.subresource = "token";
  command.ns = key[1];
  command.name = wanted.account;
  command.json = nlohmann::json{{"spec", std::move(spec)}}.dump();
  commands_.send(std::move(command), [this, key, done = std::move(done),
                                      weak = std::weak_ptr<bool>(alive_)](Result<bus::CommandOutcome> r) {
    if (weak.expired()) return;
    if (!r.ok()) return done(r.error());
    static const model::Kind& kKind = *model::Schema::get().by_kind("authentication.k8s.io", "v1", "TokenRequest");
    if (!model::verify(*kKind.type, r->object))
      return done(Error{Code::kInternal, "the gateway's answer is not well-formed"});
    model::Object token(kKind, std::move(r->object));
    const auto* status = token.as<api::authentication_v1::TokenRequest>()->status();
    const int64_t left =
        (status == nullptr ? 0 : status->expiration_timestamp().value_or(0)) - loop_.wall() / 1'000'000;
    known_[key] = std::move(token);
    // Renewed well before it ends.
    retries_[key] =
        loop_.after(std::chrono::seconds(std::max<int64_t>(10, left * 8 / 10)), [this, key] { refresh(key); });
    done(gantry::Done{});
  });
}

void ReferenceStore::refresh(const Key& key) {
  if (known_.count(key) == 0) return;
  fetch(key, [this, key](Status s) {
    if (!s.ok()) {
      retries_[key] = loop_.after(kRetry, [this, key] { refresh(key); });
      return;
    }
    if (key[0] != kTokens) retries_.erase(key);
    changed_(key[0], key[1], key[2]);
  });
}

model::Object ReferenceStore::find(std::string_view resource, std::string_view ns, std::string_view name) const {
  auto found = known_.find(Key{std::string(resource), std::string(ns), std::string(name)});
  return found == known_.end() ? model::Object() : found->second;
}

void ReferenceStore::trim(
    const std::function<bool(const std::string&, const std::string&, const std::string&)>& needed) {
  for (auto it = known_.begin(); it != known_.end();) {
    const auto& [resource, ns, name] = it->first;
    if (needed(resource, ns, name)) {
      ++it;
    } else {
      retries_.erase(it->first);
      it = known_.erase(it);
    }
  }
}

}  // namespace gantry::nodeagent

#include "services/apigw/core/api.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include <charconv>

#include "libs/base/ids.h"
#include "libs/model/served.h"
#include "services/apigw/core/access.h"
#include "services/apigw/core/admission.h"
#include "services/apigw/core/bootstrap.h"
#include "services/apigw/core/chains.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/core/event_expiry.h"
#include "services/apigw/core/gateway_addresses.h"
#include "services/apigw/core/leases.h"
#include "services/apigw/core/metrics.h"
#include "services/apigw/core/options.h"
#include "services/apigw/core/quota_keeper.h"
#include "services/apigw/core/token_cleaner.h"
#include "services/apigw/core/views.h"
#include "services/apigw/core/watcher.h"
#include "services/apigw/core/writer.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using bus::Verb;

const char* verb_name(Verb verb) {
  switch (verb) {
    case Verb::Get:
      return "get";
    case Verb::List:
      return "list";
    case Verb::Create:
      return "create";
    case Verb::Update:
      return "update";
    case Verb::Patch:
      return "patch";
    case Verb::Delete:
      return "delete";
    case Verb::DeleteCollection:
      return "deletecollection";
    case Verb::Bind:
    case Verb::Evict:
      return "create";
    case Verb::Snapshot:
    case Verb::Replay:
      return "watch";
    case Verb::Whoami:
      return "get";
  }
  return "";
}

// The node that a read is limited to.
std::string node_of(const model::Kind& kind, std::string_view field_selector, std::string_view chain) {
  if (!chain.empty()) return std::string(chain);
  const auto fields = model::FieldSelector::parse(kind, field_selector);
  if (!fields.ok()) return {};
  const std::string* node = fields->required(kind.resource == "nodes" ? "metadata.name" : "spec.nodeName");
  return node == nullptr ? std::string() : *node;
}

Attributes attributes_of(const model::Kind& kind, const bus::Command& command) {
  Attributes a{verb_name(command.verb), command.resource, command.subresource, command.ns, command.name, {}, false, {}};
  if (command.verb == Verb::Bind) a.subresource = "binding";
  if (command.verb == Verb::Evict) a.subresource = "eviction";
  // A namespace is inside itself: who may do something there may look at it.
  if (kind.resource == "namespaces" && command.verb != Verb::Create) a.ns = command.name;
  if (command.verb == Verb::List || command.verb == Verb::DeleteCollection)
    a.node = node_of(kind, command.field_selector, {});
  if (command.verb == Verb::Snapshot || command.verb == Verb::Replay) {
    a.node = command.node;
    a.metadata_only = true;
  }
  return a;
}

// What its flow is in Admission: the nodes share one, so that thousands of them do not outnumber the scheduler.
std::string flow_of(const Identity& identity) { return identity.node.empty() ? identity.user : "nodes"; }

Admission::Rank rank_of(const bus::Command& command) {
  if (command.resource == "leases" || command.resource == "nodes") return Admission::Rank::kVital;
  return command.resource == "events" ? Admission::Rank::kEvent : Admission::Rank::kNormal;
}

void take_delete_options(const api::meta_v1::DeleteOptions* options, bus::Command& command) {
  if (options == nullptr) return;
  if (options->grace_period_seconds()) command.grace_period_seconds = *options->grace_period_seconds();
  if (options->propagation_policy() != nullptr) command.propagation = model::str(options->propagation_policy());
  if (options->dry_run() != nullptr && options->dry_run()->size() > 0) command.dry_run = true;
  if (const auto* preconditions = options->preconditions()) {
    command.uid = model::str(preconditions->uid());
    const auto revision = model::str(preconditions->resource_version());
    std::from_chars(revision.data(), revision.data() + revision.size(), command.revision);
  }
}

// Kinds that would have no effect here are not kept as if they had.
Error refused(const model::Kind& kind, const std::string& why) {
  Error error{Code::kMethodNotAllowed, fmt::format("{} cannot be created: {}", qualified_resource(kind), why)};
  error.group = kind.group;
  error.kind = kind.resource;
  return error;
}

Error no_such_resource() { return {Code::kNotFound, "the server could not find the requested resource"}; }

class ApiImpl final : public Api {
 public:
  ApiImpl(Loop& loop, state::Store& store, ApiConfig config)
      : loop_(loop),
        store_(store),
        config_(std::move(config)),
        world_(loop, store, config_.window),
        authenticator_(config_.tokens, world_, config_.anonymous),
        access_(world_, authenticator_, config_),
        allocator_(world_, config_),
        context_{world_, config_, allocator_, authenticator_.tokens()},
        writer_(loop, store, world_, context_),
        admission_(loop),
        leases_(store, *this),
        event_expiry_(loop, store, *this, world_),
        addresses_(loop, store, *this, config_.advertise_address),
        quota_keeper_(loop, store, *this, world_),
        token_cleaner_(loop, store, *this, world_) {
    world_.start();
    // Before its address is in the list, its lease is held: or another gateway would take it out again.
    const auto put_in = [this] {
      bootstrap_ = bootstrap(loop_, *this, config_, allocator_.first_ip(), [this] { bootstrapped_ = true; });
    };
    addresses_.start(put_in, put_in);
  }

  bool ready() const override { return bootstrapped_ && world_.synced(); }

  const model::Object* peek(std::string_view resource, std::string_view ns, std::string_view name) const override {
    const Mirror* mirror = world_.find(resource);
    return mirror == nullptr ? nullptr : mirror->find(ns, name);
  }

  Status authorize(const Identity& identity, const Attributes& attributes) const override {
    return apigw::authorize(identity, attributes, world_);
  }

  void authenticate(Credentials credentials, std::function<void(Result<Identity>)> done) override {
    const int64_t now = loop_.wall() / 1'000'000;
    authenticator_.identify(
        credentials, now,
        alive_.guard([this, wanted = credentials.impersonation, done = std::move(done)](Result<Identity> who) {
          if (!who.ok() || !wanted.wanted()) return done(std::move(who));
          done(Authenticator::impersonate(wanted, [&](const Attributes& a) { return authorize(*who, a); }));
        }));
  }

  const ServiceAccountTokens& tokens() const override { return authenticator_.tokens(); }

  void handle(const Identity& identity, bus::Command command, Callback done) override {
    auto request = std::make_shared<Request>();
    request->identity = identity;
    request->command = std::move(command);
    request->done = std::move(done);
    request->now = loop_.wall() / 1'000'000;
    // Even an immediate refusal comes in a later turn of the loop.
    if (!bus::changes_state(request->command.verb)) {
      return loop_.post(alive_.guard([this, request] { begin(request); }));
    }
    const auto rank = rank_of(request->command);
    const auto admitted = [this, request, rank] {
      request->done = alive_.guard([this, rank, done = std::move(request->done)](Result<Answer> answer) {
        admission_.finished(rank);
        done(std::move(answer));
      });
      begin(request);
    };
    if (admission_.enter(rank, flow_of(identity), admitted)) return;
    loop_.post([request] {
      request->done(Error{.code = Code::kTooManyRequests, .message = "the gateway is busy", .retry_after_seconds = 1});
    });
  }

  std::unique_ptr<Watch> watch(const Identity& identity, WatchRequest request, WatchCallbacks callbacks) override {
    see_through(request, callbacks);
    Mirror* mirror = world_.find(request.resource);
    if (mirror == nullptr) return failed_watch(loop_, no_such_resource(), std::move(callbacks));
    const std::string node = node_of(mirror->kind(), request.field_selector, {});
    const auto allowed =
        authorize(identity, {"watch", request.resource, "", request.ns, request.name, node, false, {}});
    if (!allowed.ok()) return failed_watch(loop_, allowed.error(), std::move(callbacks));
    return watch_mirror(loop_, *mirror, std::move(request), std::move(callbacks));
  }

 private:
  void begin(const RequestPtr& request) {
    auto& command = request->command;
    if (command.verb == Verb::Whoami) return request->done(Answer{.outcome = Answer::Outcome::kNothing});
    if (auto seen = see_through(*request, config_.max_object_bytes); !seen.ok()) return request->done(seen.error());
    request->mirror = world_.find(command.resource);
    if (request->mirror == nullptr) return answer_virtual(request);
    request->kind = &request->mirror->kind();
    if (!request->kind->namespaced) command.ns.clear();
    const Attributes attributes = attributes_of(*request->kind, command);
    auto allowed = authorize(request->identity, attributes);
    if (allowed.ok()) return dispatch(request);
    if (request->identity.in_group("system:unauthenticated")) return request->done(allowed.error());
    // This gateway may not have seen yet what allows it: a role, or a pod on the node that asks.
    auto resources = access_resources();
    if (!request->identity.node.empty()) resources = {"pods", command.resource};
    world_.at_heads_of(std::move(resources), alive_.guard([this, request, attributes](Status status) {
      if (!status.ok()) return request->done(status.error());
      auto again = authorize(request->identity, attributes);
      if (!again.ok()) return request->done(again.error());
      dispatch(request);
    }));
  }

  // What is never stored: a question, or what is made when it is read.
  void answer_virtual(const RequestPtr& request) {
    auto& command = request->command;
    const model::Kind* kind = model::kind_by_token(command.resource);
    if (kind == nullptr || !model::served(*kind).is_virtual) return request->done(no_such_resource());
    const bool measured = is_metrics(*kind);
    if (!model::served(*kind).has_verb(verb_name(command.verb)) || !command.subresource.empty() ||
        (!measured && !command.name.empty())) {
      return request->done(
          Error{Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
    }
    request->kind = kind;
    if (!kind->namespaced) command.ns.clear();
    Attributes attributes = attributes_of(*kind, command);
    attributes.resource = kind->resource;
    attributes.group = kind->group;
    const auto allowed = authorize(request->identity, attributes);
    if (!allowed.ok()) return request->done(allowed.error());
    if (auto options = check_options(*request); !options.ok()) return request->done(options.error());
    if (measured) return request->done(read_metrics(*kind, command, config_.usage, world_));
    kind->kind == "Binding" ? bind_named(request) : access_.review(request);
  }

  // A Binding that is posted by itself: its name is the pod's.
  void bind_named(const RequestPtr& request) {
    request->command.resource = "pods";
    request->command.subresource = "binding";
    request->mirror = world_.find("pods");
    request->kind = &request->mirror->kind();
    dispatch(request);
  }

  void dispatch(const RequestPtr& request) {
    auto& command = request->command;
    request->verb = verb_name(command.verb);
    request->may_repeat = !command.id.empty();
    if (command.id.empty())
      command.id = new_uid();  // so that the store can resolve what a broken connection leaves open
    const std::string& sub = command.subresource;
    if (!sub.empty() && !request->kind->has_subresource(sub) && !(sub == "hold" && command.resource == "leases")) {
      return request->done(no_such_resource());
    }
    if (auto options = check_options(*request); !options.ok()) return request->done(options.error());
    const bool creates = command.verb == Verb::Create || may_create(*request);
    const std::string& refusal = model::served(*request->kind).refuses;
    if (creates && sub.empty() && !refusal.empty()) return request->done(refused(*request->kind, refusal));
    switch (command.verb) {
      case Verb::Get:
        return read(request, [request](const Mirror& mirror) { return get(mirror, request->command); });
      case Verb::List:
        return read(request, [request](const Mirror& mirror) { return list(mirror, request->command); });
      case Verb::Snapshot:
        return read(request,
                    [this, request](const Mirror& mirror) { return snapshot(world_, mirror, request->command); });
      case Verb::Replay:
        return replay_log(request);
      case Verb::Create:
        return create(request);
      case Verb::Update:
        if (sub == "hold") return leases_.hold(request);
        [[fallthrough]];
      case Verb::Patch:
        return writer_.modify(
            request, [this](Request& r, const model::Object& before) { return plan_update(context_, r, before); });
      case Verb::Delete:
        return remove(request);
      case Verb::DeleteCollection:
        return remove_collection(request);
      case Verb::Bind:
        return bind(request);
      case Verb::Evict:
        return evict(request);
      case Verb::Whoami:
        return;
    }
    request->done(bad_request("unknown verb"));
  }

  void read(const RequestPtr& request, std::function<Result<Answer>(const Mirror&)> answer) {
    const auto ready = alive_.guard([request, answer = std::move(answer)](Status status) {
      if (!status.ok()) return request->done(status.error());
      request->done(answer(*request->mirror));
    });
    const bool chain = request->command.verb == Verb::Snapshot;  // its revision is no condition
    chain ? request->mirror->at_head(ready) : await_view(*request->mirror, request->command, ready);
  }

  void replay_log(const RequestPtr& request) {
    request->mirror->at_head(alive_.guard([this, request](Status status) {
      if (!status.ok()) return request->done(status.error());
      const auto from = replay_from(request->command);
      if (!from.ok()) return request->done(from.error());
      if (*from > request->mirror->revision())
        return request->done(too_large_revision(*from, request->mirror->revision()));
      store_.read_log(request->command.resource, *from, kReplayEntries,
                      alive_.guard([request](Result<std::vector<state::LogEntry>> entries) {
                        if (!entries.ok()) return request->done(entries.error());
                        request->done(replay(*request->mirror, request->command, *entries));
                      }));
    }));
  }

  void create(const RequestPtr& request) {
    const std::string& sub = request->command.subresource;
    if (sub == "binding") return create_binding(request);
    if (sub == "token") return access_.request_token(request);
    if (sub == "eviction") return evict(request);
    if (!sub.empty())
      return request->done(
          Error{Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"});
    writer_.create(request);
  }

  void create_binding(const RequestPtr& request) {
    const auto& kind = *model::Schema::get().by_kind("", "v1", "Binding");
    const auto body = decode_body(kind, request->command, config_.max_object_bytes, &request->warnings);
    if (!body.ok()) return request->done(body.error());
    const auto* binding = body->as<api::core_v1::Binding>();
    if (request->command.name.empty()) request->command.name = body->name();
    if (request->command.uid.empty()) request->command.uid = body->uid();
    if (binding->target() != nullptr) request->command.node = model::str(binding->target()->name());
    const std::string_view target = binding->target() == nullptr ? "" : model::str(binding->target()->kind());
    if (!target.empty() && target != "Node") {
      Problems problems;
      problems.unsupported("target.kind", target, {"Node", "<empty>"});
      return request->done(problems.error(kind, request->command.name));
    }
    if (request->command.name.empty()) return request->done(bad_request("name must be provided"));
    bind(request);
  }

  void bind(const RequestPtr& request) {
    if (request->command.resource != "pods") return request->done(no_such_resource());
    request->verb = "bind";
    if (request->command.node.empty()) {
      Problems problems;
      problems.required("target.name");
      return request->done(problems.error(*request->kind, request->command.name));
    }
    writer_.modify(request, [this](Request& r, const model::Object& before) { return plan_bind(context_, r, before); });
  }

  void evict(const RequestPtr& request) {
    if (request->command.resource != "pods") return request->done(no_such_resource());
    request->verb = "evict";
    auto& command = request->command;
    if (!command.object.empty() || !command.json.empty()) {
      const auto& kind = *model::Schema::get().by_kind("policy", "v1", "Eviction");
      const auto body = decode_body(kind, command, config_.max_object_bytes, &request->warnings);
      if (!body.ok()) return request->done(body.error());
      if (!body->name().empty() && body->name() != command.name)
        return request->done(bad_request("name in URL does not match name in Eviction object"));
      take_delete_options(body->as<api::policy_v1::Eviction>()->delete_options(), command);
    }
    if (Mirror* budgets = world_.find("poddisruptionbudgets")) request->beside.push_back(budgets);
    auto done = std::move(request->done);
    request->done = [done = std::move(done)](Result<Answer> answer) {
      if (answer.ok()) answer->outcome = Answer::Outcome::kNothing;
      done(std::move(answer));
    };
    writer_.modify(request,
                   [this](Request& r, const model::Object& before) { return plan_evict(context_, r, before); });
  }

  void remove(const RequestPtr& request) {
    writer_.modify(request,
                   [this](Request& r, const model::Object& before) { return plan_delete(context_, r, before); });
  }

  // One commit an object: what goes in between or is held by finalizers does not stop the rest. With Match::kExact
  // the revision is that of the list, otherwise each object's.
  void remove_collection(const RequestPtr& request) {
    request->mirror->at_head(alive_.guard([this, request](Status status) {
      if (!status.ok()) return request->done(status.error());
      auto listed = list(*request->mirror, request->command);
      if (!listed.ok()) return request->done(std::move(listed.error()));
      if (request->command.match == bus::Match::kExact) request->command.revision = 0;
      struct Progress {
        Answer answer;
        size_t left = 1;
        std::optional<Error> error;
      };
      auto progress = std::make_shared<Progress>();
      progress->answer = std::move(*listed);
      const auto finish = [request, progress] {
        if (--progress->left > 0) return;
        if (progress->error) return request->done(*progress->error);
        request->done(std::move(progress->answer));
      };
      for (const auto& object : progress->answer.items) {
        ++progress->left;
        auto one = std::make_shared<Request>(*request);
        one->command.verb = Verb::Delete;
        one->command.id = fmt::format("{}/{}", request->command.id, object.uid());
        one->command.ns = object.ns();
        one->command.name = object.name();
        one->command.uid = object.uid();
        one->done = [progress, finish](Result<Answer> answer) {
          const bool gone = !answer.ok() && (answer.code() == Code::kNotFound || answer.code() == Code::kConflict);
          if (!answer.ok() && !gone) progress->error = answer.error();
          finish();
        };
        remove(one);
      }
      finish();
    }));
  }

  Loop& loop_;
  state::Store& store_;
  const ApiConfig config_;
  World world_;
  Authenticator authenticator_;
  Access access_;
  Allocator allocator_;
  Context context_;
  Writer writer_;
  Admission admission_;
  Leases leases_;
  EventExpiry event_expiry_;
  GatewayAddresses addresses_;
  QuotaKeeper quota_keeper_;
  TokenCleaner token_cleaner_;
  bool bootstrapped_ = false;
  std::shared_ptr<void> bootstrap_;
  Alive alive_;
};

}  // namespace

std::unique_ptr<Api> make_api(Loop& loop, state::Store& store, ApiConfig config) {
  if (config.tokens.keys.empty()) config.tokens.keys.push_back(TokenKey::generate());
  return std::make_unique<ApiImpl>(loop, store, std::move(config));
}

}  // namespace gantry::apigw

// The gateway's core: every request, from HTTP or from the bus, is a bus::Command; the core authorizes it, answers
// reads from its projection, and turns writes into commits. REST (../rest) and the command adapter (../commands) only
// translate.
//
// Verbs and what they read from the command:
//   Get               resource, ns, name; subresource "" | status | scale. revision: not older than that.
//   List              resource, ns ("" = all), label_selector, field_selector, limit, continue_token, revision as in
//                     Get.
//   Create            resource, ns, object|json. subresource "" | binding (pods; body: a Binding) | eviction (pods;
//                     body: an Eviction).
//   Update            resource, ns, name, object|json, subresource "" | status | scale (body: a Scale) | finalize
//                     (namespaces) | ephemeralcontainers | resize (pods) | approval (certificatesigningrequests).
//                     metadata.resourceVersion in the body or command.revision: must be the current one.
//   Patch             as Update with the patch in json and patch_type; sequence (epoch, number): a node's ordered
//                     report. Apply: json is the configuration; field_manager, force. Makes what is not there.
//   Delete            resource, ns, name, uid, revision, grace_period_seconds, propagation, absent_owner_uid.
//   DeleteCollection  as List and Delete.
//   Bind              pods, ns, name, uid, node.
//   Evict             pods, ns, name: a delete within the pod's disruption budget.
//   Snapshot, Replay  resource and one of node ("_" = none), ns, or neither; revision: events after it.
//   Whoami
// All writes: dry_run (everything but the commit), field_validation, field_manager (its name in managedFields, see
// managers.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "libs/bus/command.h"
#include "libs/model/object.h"
#include "libs/state/store.h"
#include "services/apigw/authn/authenticator.h"
#include "services/apigw/authz/authz.h"

namespace gantry::usage {
class UsageBoard;
}

namespace gantry::apigw {

struct Answer {
  enum class Outcome : uint8_t {
    kObject,   // `object` (HTTP 200)
    kCreated,  // `object`, new (HTTP 201)
    kDeleted,  // gone; `object` is the last state
    kList,     // `items` of `kind` at `revision`
    kChain,    // Snapshot: `items`; Replay: `events`; both with the chain's `head`
    kNothing,  // success without an object: Bind, Create pods/binding (HTTP 201, Status Success)
  };
  Outcome outcome = Outcome::kObject;
  const model::Kind* kind = nullptr;  // of object and items; Scale for the scale subresource
  model::Object object;               // object.revision() is its resourceVersion
  std::vector<model::Object> items;
  uint64_t revision = 0;  // of the object or of the list
  std::string continue_token;
  std::optional<int64_t> remaining;  // items after this page, when known
  std::vector<std::string> warnings;
  std::vector<std::string> events;  // Replay: serialized gantry.bus.Event
  uint64_t head = 0;                // Snapshot and Replay: the last revision of the chain
  bool duplicate = false;           // the outcome of an earlier command with the same id
};

enum class WatchType : uint8_t { kAdded, kModified, kDeleted };

struct WatchRequest {
  std::string resource;
  std::string ns, name;  // "" = all
  std::string label_selector, field_selector;
  /// Events after this revision. Without it (or 0): first what there is, as kAdded, then what changes.
  std::optional<uint64_t> revision;
  /// Without a revision too: false = start with what comes from now on (sendInitialEvents=false).
  bool initial_events = true;
  /// With initial events: they are at least as new as this revision.
  uint64_t not_older_than = 0;
  /// Whatever is at hand will do to begin with; otherwise all that was committed before the request.
  bool any = false;
};

struct WatchCallbacks {
  /// Return false to be left alone until Watch::resume(): a peer that does not read. A watcher that pauses longer than
  /// the window of events lasts ends with kExpired. The object carries its resourceVersion as revision(); on kDeleted
  /// it is the last state that matched.
  std::function<bool(WatchType, const model::Object&)> event;
  /// All up to `revision` has been told. `initial_end` once, after the initial events (or at once without any); then at
  /// most once a minute and only while it moves.
  std::function<void(uint64_t revision, bool initial_end)> bookmark;
  /// The end: kExpired (410), kBadRequest, kForbidden, kNotFound (no such resource). Nothing comes after it.
  std::function<void(const Error&)> error;
};

/// One running watch. Destroying it ends it. Loop's thread only.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual void resume() = 0;
  /// Calls callbacks.bookmark before it returns, if everything up to now has been told.
  virtual void remind() = 0;
};

struct ApiConfig {
  std::string service_cidr = "10.96.0.0/16";
  uint16_t node_port_min = 30000, node_port_max = 32767;
  std::string advertise_address;  // IP:PORT of the kubernetes Service's endpoint; empty: none is made
  size_t window = 16384;          // events kept per kind for watches that come back
  size_t max_object_bytes = 1536 * 1024;
  TokenConfig tokens;     // without a key one is made: its tokens are good at this gateway only
  bool automount = true;  // pods find their ServiceAccount's token where client libraries look for it
  bool anonymous = true;  // requests without credentials are system:anonymous, not refused
  /// Outlives the Api. Null: the metrics API knows of nothing.
  const usage::UsageBoard* usage = nullptr;
  std::string root_ca_pem;  // of the API's server certificate: what pods check it with; empty: they get no tokens
};

/// All calls on the loop's thread; callbacks come on it, never inside the call.
class Api {
 public:
  virtual ~Api() = default;

  using Callback = std::function<void(Result<Answer>)>;
  /// Errors in the words of the Kubernetes API; see Code for their HTTP status.
  virtual void handle(const Identity& identity, bus::Command command, Callback done) = 0;
  virtual std::unique_ptr<Watch> watch(const Identity& identity, WatchRequest request, WatchCallbacks callbacks) = 0;
  /// Who asks, impersonation included: kUnauthorized, kForbidden. May call back at once.
  virtual void authenticate(Credentials credentials, std::function<void(Result<Identity>)> done) = 0;
  /// For the documents that tell others how to check ServiceAccount tokens.
  virtual const ServiceAccountTokens& tokens() const = 0;
  /// For what is not a command: logs, exec, /version. kForbidden or kUnauthorized.
  virtual Status authorize(const Identity& identity, const Attributes& attributes) const = 0;
  /// The object as the projection has it now (it may be behind); nullptr when it has none. Without authorization.
  virtual const model::Object* peek(std::string_view resource, std::string_view ns, std::string_view name) const = 0;

  /// True once every projection has its snapshot and the objects of the start exist.
  virtual bool ready() const = 0;
};

/// Starts at once: loads the projections and creates what every cluster has (four namespaces, the kubernetes Service).
/// `loop` and `store` outlive it.
std::unique_ptr<Api> make_api(Loop& loop, state::Store& store, ApiConfig config);

}  // namespace gantry::apigw

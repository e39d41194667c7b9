#include "services/apigw/core/leases.h"

#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/names.h"
#include "schemas/api/coordination_v1_generated.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::str;

constexpr int64_t kDefaultSeconds = 15;
constexpr int64_t kMaxSeconds = 3600;
constexpr size_t kMaxBody = 64 << 10;

}  // namespace

void Leases::hold(const RequestPtr& request) {
  // One name, one lease: guards name it without a namespace. Names with a slash are the gateways' own.
  if (request->command.ns != "kube-system" || !model::check_dns_subdomain(request->command.name).empty()) {
    return request->done(bad_request("leases are held by name in the namespace kube-system"));
  }
  const auto body = decode_body(*request->kind, request->command, kMaxBody, nullptr);
  if (!body.ok()) return request->done(body.error());
  const auto* spec = body->as<api::coordination_v1::Lease>()->spec();
  const std::string holder(spec == nullptr ? std::string_view() : str(spec->holder_identity()));
  const int64_t seconds = spec == nullptr ? kDefaultSeconds : spec->lease_duration_seconds().value_or(kDefaultSeconds);
  if (holder.empty() || seconds <= 0 || seconds > kMaxSeconds)
    return request->done(bad_request("a lease is held by spec.holderIdentity for spec.leaseDurationSeconds"));
  store_.hold(request->command.name, holder, static_cast<uint32_t>(seconds * 1000),
              alive_.guard([this, request, holder, seconds](Result<uint64_t> epoch) {
                if (!epoch.ok()) return request->done(epoch.error());
                show(request->command, holder, seconds, request->now * 1'000'000);
                Answer answer;
                answer.outcome = Answer::Outcome::kNothing;
                answer.kind = request->kind;
                answer.revision = *epoch;
                request->done(std::move(answer));
              }));
}

// Only when the holder changes: a write per renewal would be the most frequent one of the cluster.
void Leases::show(const bus::Command& held, const std::string& holder, int64_t seconds, WallMicros now) {
  const auto& kind = *model::Schema::get().by_resource("leases");
  const model::Object* there = api_.peek("leases", held.ns, held.name);
  if (there != nullptr) {
    const auto* spec = there->as<api::coordination_v1::Lease>()->spec();
    if (spec != nullptr && str(spec->holder_identity()) == holder) return;
  }
  model::Draft draft = there == nullptr ? model::Draft(kind) : model::Draft(*there);
  draft.set("metadata.name", held.name);
  draft.set("spec.holderIdentity", holder);
  draft.set("spec.leaseDurationSeconds", seconds);
  draft.set("spec.acquireTime", now);
  draft.set("spec.renewTime", now);
  const auto* old = there == nullptr ? nullptr : there->as<api::coordination_v1::Lease>()->spec();
  draft.set("spec.leaseTransitions", old == nullptr ? 0 : old->lease_transitions().value_or(0) + 1);
  bus::Command command;
  command.verb = there == nullptr ? bus::Verb::Create : bus::Verb::Update;
  command.resource = "leases";
  command.ns = held.ns;
  command.name = held.name;
  command.object = draft.bytes();
  api_.handle(gateway(), std::move(command), [name = held.name](Result<Answer> answer) {
    if (!answer.ok()) LOG(WARNING) << "lease not shown: lease=" << name << " error=" << answer.error().message;
  });
}

}  // namespace gantry::apigw

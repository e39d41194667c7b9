#include "services/apigw/core/token_cleaner.h"

#include "libs/base/ids.h"
#include "libs/model/json.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {
namespace {

using model::Object;

constexpr auto kSoon = std::chrono::milliseconds(200);
constexpr auto kPeriod = std::chrono::seconds(15);
constexpr uint32_t kLeaseMillis = 5'000;
constexpr int64_t kPatience = 60;  // seconds for an account to come after the Secret that names it
constexpr const char* kName = "kubernetes.io/service-account.name";
constexpr const char* kUid = "kubernetes.io/service-account.uid";

bool expired(const api::core_v1::Secret& secret, int64_t now) {
  const auto* entry = secret.data() == nullptr ? nullptr : secret.data()->LookupByKey("expiration");
  if (entry == nullptr || entry->value() == nullptr) return false;
  const auto until = model::parse_time({reinterpret_cast<const char*>(entry->value()->data()), entry->value()->size()});
  return until.ok() && *until / 1'000'000 <= now;
}

}  // namespace

TokenCleaner::TokenCleaner(Loop& loop, state::Store& store, Api& api, World& world)
    : loop_(loop), store_(store), api_(api), world_(world), holder_(new_uid()) {
  world_.find("serviceaccounts")->cache().on_change([this](const projection::Change& change) {
    if (!change.after && !soon_) soon_ = loop_.after(kSoon, [this] { look(); });
  });
  every_ = loop_.every(kPeriod, [this] { look(); });
}

bool TokenCleaner::stale(const Object& secret) const {
  const std::string_view type = model::str(secret.as<api::core_v1::Secret>()->type());
  const int64_t now = loop_.wall() / 1'000'000;
  if (secret.meta()->deletion_timestamp()) return false;
  if (type == "bootstrap.kubernetes.io/token")
    return secret.ns() == "kube-system" && expired(*secret.as<api::core_v1::Secret>(), now);
  if (type != "kubernetes.io/service-account-token") return false;
  const std::string_view name = model::annotation(secret.meta(), kName), uid = model::annotation(secret.meta(), kUid);
  if (name.empty()) return false;
  const Object* account = world_.find_object("serviceaccounts", secret.ns(), name);
  if (account != nullptr) return !uid.empty() && account->uid() != uid;
  return !uid.empty() || secret.meta()->creation_timestamp().value_or(0) + kPatience <= now;
}

bool TokenCleaner::any_stale() const {
  bool found = false;
  world_.find("secrets")->cache().for_each([&](const Object& secret) { found = found || stale(secret); });
  return found;
}

void TokenCleaner::look() {
  soon_.reset();
  if (!world_.synced() || !any_stale()) return;
  store_.hold("apigw/token-cleaner", holder_, kLeaseMillis, alive_.guard([this](const Result<uint64_t>& epoch) {
    if (!epoch.ok()) return;
    // What is absent here may only not have come yet.
    world_.at_heads_of({"serviceaccounts", "secrets"}, alive_.guard([this](const Status& status) {
      if (status.ok()) sweep();
    }));
  }));
}

void TokenCleaner::sweep() {
  std::vector<Object> gone;
  world_.find("secrets")->cache().for_each([&](const Object& secret) {
    if (stale(secret)) gone.push_back(secret);
  });
  for (const auto& secret : gone) {
    bus::Command command;
    command.verb = bus::Verb::Delete;
    command.resource = "secrets";
    command.ns = secret.ns();
    command.name = secret.name();
    command.uid = secret.uid();
    command.revision = secret.revision();
    command.absent_owner_uid = model::annotation(secret.meta(), kUid);  // "" for a bootstrap token
    api_.handle(gateway(), std::move(command), [](const Result<Answer>&) {});
  }
}

}  // namespace gantry::apigw

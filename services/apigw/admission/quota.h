// ResourceQuotas. What an object uses of a quota's resource is its share of the account "<quota uid>/<resource>" in the
// store. A commit that makes, changes or erases the object sets its shares, and fails if a sum would pass the limit: so
// no number of gateways over-commits a quota. Accounts are complete once status.hard names their resource: the keeper
// (core/quota_keeper.h) puts what was there before on the account and writes status.used.
#pragma once

#include "services/apigw/admission/admission.h"
#include "services/apigw/admission/resources.h"

namespace gantry::apigw {

/// "<quota uid>/<resource>"
std::string quota_account(const model::Object& quota, std::string_view resource);
/// spec.hard, or what of it is in status.hard.
Amounts quota_hard(const model::Object& quota);
Amounts quota_tracked(const model::Object& quota);

/// What the object counts for under the names that quotas use: pods, requests.cpu, count/deployments.apps, ... Empty
/// for what does not count (a pod that has ended).
Amounts usage_of(const model::Object& object);
/// Whether the quota is about this object: its scopes.
bool quota_covers(const model::Object& quota, const model::Object& object);
/// The shares that `object` is to have: hard's resources that it uses.
Amounts shares_of(const model::Object& quota, const model::Object& object);
/// As the store counts: whole numbers; cpu and what else may be a fraction in thousandths.
int64_t share_number(std::string_view resource, const model::Quantity& amount);
std::string print_share(std::string_view resource, int64_t number);

/// What a changed quota limits for the first time is not on its account yet: status.hard says so no longer.
model::Object untrack_new_resources(const AdmissionRequest& admission, const model::Object& quota);

/// The claim that a namespace has quotas, whoever counts them.
std::string quota_counter(std::string_view ns);

/// Adds the shares of `object` (empty: it goes) to the commit. kForbidden when the view already says that it cannot be.
Status charge_quotas(AdmissionRequest& admission, const model::Object& object);
/// The refusal of a commit whose account was full: `account` and `used` as the store said; nullopt if it is no quota's.
std::optional<Error> exceeded_quota(const AdmissionRequest& admission, const model::Object& object,
                                    std::string_view account, int64_t used);

}  // namespace gantry::apigw

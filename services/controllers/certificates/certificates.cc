#include "services/controllers/certificates/certificates.h"

#include <nlohmann/json.hpp>

#include "libs/model/base64.h"
#include "libs/model/json.h"
#include "libs/model/served.h"
#include "libs/model/workload.h"
#include "schemas/api/authorization_v1_generated.h"
#include "schemas/api/certificates_v1_generated.h"
#include "services/controllers/certificates/request.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::certificates_v1::CertificateSigningRequest;
using nlohmann::json;

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kHour = 3600;
constexpr int64_t kFirstRetry = 30;  // seconds until a refused request is looked at again

json with_condition(const model::Object& csr, const char* type, const char* reason, const std::string& message,
                    WallMicros now) {
  json status = model::to_tree(csr).value("status", json::object());
  json conditions = status.value("conditions", json::array());
  const std::string time = model::format_time(now / kSecond);
  conditions.push_back({{"type", type},
                        {"status", "True"},
                        {"reason", reason},
                        {"message", message},
                        {"lastUpdateTime", time},
                        {"lastTransitionTime", time}});
  return {{"status", {{"conditions", std::move(conditions)}}}};
}

// Guarded by the revision: a person may decide meanwhile.
bus::Command change(const model::Object& csr, const json& change, const char* subresource) {
  bus::Command command = patch(csr, change.dump(), subresource);
  command.revision = csr.revision();
  return command;
}

// May who asks have this approved by itself?
bus::Command ask(const model::Object& csr, const char* subresource) {
  const json spec = model::to_tree(csr).value("spec", json::object());
  json subject{{"user", spec.value("username", "")},
               {"resourceAttributes",
                {{"group", "certificates.k8s.io"},
                 {"version", "v1"},
                 {"resource", "certificatesigningrequests"},
                 {"verb", "create"},
                 {"subresource", subresource}}}};
  for (const char* field : {"uid", "groups", "extra"}) {
    if (spec.contains(field)) subject[field] = spec[field];
  }
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "subjectaccessreviews";
  command.json =
      json{{"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SubjectAccessReview"}, {"spec", subject}}.dump();
  return command;
}

bool granted(const Answer& answer) {
  if (!answer.result.ok() || answer.result->object.empty()) return false;
  const auto& kind = *model::kind_by_token("subjectaccessreviews");
  if (!model::verify(*kind.type, answer.result->object)) return false;
  const model::Object review(kind, answer.result->object);
  const auto* status = review.as<api::authorization_v1::SubjectAccessReview>()->status();
  return status != nullptr && status->allowed().value_or(false);
}

bool decided(const model::Object& csr) {
  return has_condition(csr, "Approved") || has_condition(csr, "Denied") || has_condition(csr, "Failed");
}

}  // namespace

void CertificateController::keys_for(const View&, std::string_view, const projection::Change& change,
                                     std::vector<std::string>& keys) const {
  if (change.after) keys.emplace_back(change.after.name());
}

// Two decisions: the first asks who may, the second has the answers.
Decision CertificateApprover::decide(const View& view, const std::string& key, WallMicros now,
                                     const Memory& memory) const {
  Decision decision;
  const model::Object* csr = view.find("certificatesigningrequests", key);
  if (csr == nullptr || model::is_deleting(csr->meta()) || decided(*csr) || has_certificate(*csr)) return decision;
  if (signer_of(*csr) != kNodeClientSigner) return decision;
  const auto names = names_of(pem_of(*csr));
  if (!names.ok() || !check_request(kNodeClientSigner, *names, usages_of(*csr)).ok()) return decision;
  const auto* spec = csr->as<CertificateSigningRequest>()->spec();
  const bool own = model::str(spec->username()) == names->common_name;
  bool reviewed = false, all_answered = true;
  for (const Answer& answer : memory.answers) {
    if (answer.command.resource != "subjectaccessreviews") continue;
    reviewed = true;
    all_answered = all_answered && answer.result.ok();
    if (!granted(answer)) continue;
    decision.add(change(*csr,
                        with_condition(*csr, "Approved", "AutoApproved",
                                       own ? "Auto approving self kubelet client certificate after SubjectAccessReview."
                                           : "Auto approving kubelet client certificate after SubjectAccessReview.",
                                       now),
                        "approval"));
    return decision;
  }
  if (reviewed && all_answered) {
    // Somebody may grant it later, or approve by hand: ask less and less often.
    const int64_t age = now / kSecond - model::created_at(csr->meta());
    decision.wake(now + std::max(kFirstRetry, age) * kSecond);
    return decision;
  }
  if (own) decision.add(ask(*csr, "selfnodeclient"));
  decision.add(ask(*csr, "nodeclient"));
  return decision;
}

Decision CertificateSigner::decide(const View& view, const std::string& key, WallMicros now, const Memory&) const {
  Decision decision;
  const model::Object* csr = view.find("certificatesigningrequests", key);
  if (authority_ == nullptr || csr == nullptr || model::is_deleting(csr->meta())) return decision;
  if (!has_condition(*csr, "Approved") || has_condition(*csr, "Denied") || has_condition(*csr, "Failed") ||
      has_certificate(*csr))
    return decision;
  const std::string signer = signer_of(*csr), pem = pem_of(*csr);
  const auto usages = usages_of(*csr);
  const auto names = names_of(pem);
  Status fit = names.ok() ? check_request(signer, *names, usages) : Status(names.error());
  if (!fit.ok() && fit.code() == Code::kNotFound) return decision;
  if (fit.ok()) {
    const auto* spec = csr->as<CertificateSigningRequest>()->spec();
    const auto certificate = authority_->sign(pem, usages, spec->expiration_seconds().value_or(0), now);
    if (certificate.ok()) {
      std::string text;
      model::base64_encode(*certificate, text);
      decision.add(change(*csr, {{"status", {{"certificate", text}}}}, "status"));
      return decision;
    }
    fit = certificate.error();
  }
  decision.add(
      change(*csr, with_condition(*csr, "Failed", "SignerValidationFailure", fit.error().message, now), "status"));
  return decision;
}

Decision CertificateCleaner::decide(const View& view, const std::string& key, WallMicros now, const Memory&) const {
  Decision decision;
  const model::Object* csr = view.find("certificatesigningrequests", key);
  if (csr == nullptr || model::is_deleting(csr->meta())) return decision;
  std::optional<int64_t> until;
  const auto by = [&](int64_t at) { until = until ? std::min(*until, at) : at; };
  if (!decided(*csr)) by(model::created_at(csr->meta()) + 24 * kHour);
  for (const char* type : {"Denied", "Failed"}) {
    if (has_condition(*csr, type)) by(condition_time(*csr, type) + kHour);
  }
  if (has_certificate(*csr)) {
    if (has_condition(*csr, "Approved")) by(condition_time(*csr, "Approved") + kHour);
    const auto* certificate = csr->as<CertificateSigningRequest>()->status()->certificate();
    if (const auto end = end_of_certificate({reinterpret_cast<const char*>(certificate->data()), certificate->size()}))
      by(*end);
  }
  if (!until) return decision;
  if (*until * kSecond > now) {
    decision.wake(*until * kSecond);
  } else {
    bus::Command command = remove(*csr);
    command.revision = csr->revision();
    decision.add(std::move(command));
  }
  return decision;
}

}  // namespace gantry::controllers

#include "services/controllers/certificates/certificates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/base64.h"
#include "libs/model/json.h"
#include "libs/model/served.h"
#include "libs/pki/pki.h"
#include "services/controllers/certificates/request.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

const json kClient = {"digital signature", "client auth"};
const json kServer = {"digital signature", "server auth"};

std::string request(const std::string& common_name, const std::string& organization, const std::string& names = "") {
  const auto key = pki::make_key();
  const pki::Request out(X509_REQ_new());
  X509_REQ_set_pubkey(out.get(), key.get());
  pki::add_names(X509_REQ_get_subject_name(out.get()), common_name, {organization});
  if (!names.empty()) {
    STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()));
    X509_REQ_add_extensions(out.get(), extensions);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
  X509_REQ_sign(out.get(), key.get(), EVP_sha256());
  return pki::to_pem(out.get());
}

class CertificatesTest : public ::testing::Test {
 protected:
  CertificatesTest() {
    key_ = pki::make_key();
    root_ = pki::begin_certificate(key_.get(), 0, seconds() + 100 * 24 * 3600);
    pki::add_names(X509_get_subject_name(root_.get()), "gantry", {});
    X509_set_issuer_name(root_.get(), X509_get_subject_name(root_.get()));
    pki::extend(root_.get(), root_.get(), NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(root_.get(), key_.get(), EVP_sha256());
    root_pem_ = pki::to_pem(root_.get());
    key_pem_ = pki::to_pem(key_.get());
  }

  int64_t seconds() { return h_.loop.wall() / 1'000'000; }
  std::shared_ptr<const Authority> authority(Duration longest = 24h * 365) {
    return *Authority::load(root_pem_, key_pem_, longest);
  }
  void add(const std::string& name, std::string_view signer, const std::string& pem, const json& usages,
           const json& more = json::object()) {
    std::string text;
    model::base64_encode(pem, text);
    json spec{{"signerName", signer}, {"request", text}, {"usages", usages}, {"username", "system:bootstrap:abc"}};
    spec.update(more);
    h_.cluster.add(json{
        {"apiVersion", "certificates.k8s.io/v1"},
        {"kind", "CertificateSigningRequest"},
        {"metadata", {{"name", name}}},
        {"spec", spec}}.dump());
  }
  void decide(const std::string& name, const char* type) {
    h_.cluster.edit(
        "certificatesigningrequests", name,
        json{
            {"status",
             {{"conditions",
               json::array({{{"type", type}, {"status", "True"}, {"reason", "Test"}, {"lastUpdateTime", h_.now()}}})}}}}
            .dump());
  }
  json status(const std::string& name) {
    return h_.cluster.get("certificatesigningrequests", name)->value("status", json::object());
  }
  std::string condition(const std::string& name) {
    std::string out;
    for (const auto& one : status(name).value("conditions", json::array()))
      out += one["type"].get<std::string>() + " " + one["reason"].get<std::string>() + ": " + one.value("message", "");
    return out;
  }
  pki::Certificate certificate(const std::string& name) {
    std::string text;
    size_t bad = 0;
    EXPECT_TRUE(model::base64_decode(status(name).value("certificate", ""), text, bad));
    return pki::read_certificate(text);
  }
  int64_t end(const std::string& name) { return pki::end_of(certificate(name).get()) - seconds(); }
  /// Reviews answer yes for these subresources.
  void grant(std::vector<std::string> subresources) {
    h_.cluster.instead = [this, subresources](const bus::Command& c) -> std::optional<Result<bus::CommandOutcome>> {
      if (c.resource != "subjectaccessreviews") return std::nullopt;
      json review = json::parse(c.json);
      asked_.push_back(review["spec"]);
      const std::string sub = review["spec"]["resourceAttributes"]["subresource"];
      review["status"] = {{"allowed", std::find(subresources.begin(), subresources.end(), sub) != subresources.end()}};
      const auto& kind = *model::kind_by_token("subjectaccessreviews");
      bus::CommandOutcome outcome;
      outcome.object = *model::from_json(kind, review.dump());
      return outcome;
    };
  }

  testing::Harness h_;
  pki::Key key_;
  pki::Certificate root_;
  std::string root_pem_, key_pem_;
  std::vector<json> asked_;
};

TEST_F(CertificatesTest, ANodesRequestApprovesItself) {
  grant({"nodeclient"});
  h_.start(std::make_unique<CertificateApprover>());
  add("joins", kNodeClientSigner, request("system:node:n1", "system:nodes"), kClient,
      {{"groups", {"system:bootstrappers"}}});
  add("serves", kNodeServingSigner, request("system:node:n1", "system:nodes", "DNS:n1"), kServer);
  add("not-a-node", kNodeClientSigner, request("n1", "system:nodes"), kClient);
  add("a-user", kClientSigner, request("alice", "dev"), kClient);
  h_.run();
  EXPECT_EQ(condition("joins"),
            "Approved AutoApproved: Auto approving kubelet client certificate after SubjectAccessReview.");
  for (const char* name : {"serves", "not-a-node", "a-user"}) EXPECT_EQ(condition(name), "") << name;
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0]["user"], "system:bootstrap:abc");
  EXPECT_EQ(asked_[0]["groups"], json{"system:bootstrappers"});
}

TEST_F(CertificatesTest, ANodeRenewsOnlyItsOwn) {
  grant({"selfnodeclient"});
  h_.start(std::make_unique<CertificateApprover>());
  const json by_n1{{"username", "system:node:n1"}};
  add("own", kNodeClientSigner, request("system:node:n1", "system:nodes"), kClient, by_n1);
  add("another", kNodeClientSigner, request("system:node:n2", "system:nodes"), kClient, by_n1);
  h_.run();
  EXPECT_THAT(condition("own"), HasSubstr("self kubelet client certificate"));
  EXPECT_EQ(condition("another"), "");
  // It is asked again, less and less often.
  const size_t asked = asked_.size();
  h_.pass(20s);
  EXPECT_EQ(asked_.size(), asked);
  grant({"nodeclient"});
  h_.pass(1min);
  EXPECT_THAT(condition("another"), HasSubstr("AutoApproved"));
}

TEST_F(CertificatesTest, WhatIsApprovedIsSigned) {
  h_.start(std::make_unique<CertificateSigner>(authority()));
  add("user", kClientSigner, request("alice", "dev"), kClient, {{"expirationSeconds", 3600}});
  add("node", kNodeServingSigner, request("system:node:n1", "system:nodes", "DNS:n1,IP:10.0.0.1"), kServer);
  add("denied", kClientSigner, request("bob", "dev"), kClient);
  add("legacy", "kubernetes.io/legacy-unknown", request("carol", "dev"), kClient);
  h_.run();
  EXPECT_EQ(status("user"), json::object());
  for (const char* name : {"user", "node", "legacy"}) decide(name, "Approved");
  decide("denied", "Denied");
  h_.pass(1s);
  EXPECT_FALSE(status("denied").contains("certificate"));
  EXPECT_FALSE(status("legacy").contains("certificate"));

  const auto user = certificate("user"), node = certificate("node");
  ASSERT_NE(user, nullptr) << status("user");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(X509_verify(user.get(), key_.get()), 1);
  const std::unique_ptr<char, decltype(&std::free)> subject(
      X509_NAME_oneline(X509_get_subject_name(user.get()), nullptr, 0), &std::free);
  EXPECT_STREQ(subject.get(), "/O=dev/CN=alice");
  EXPECT_EQ(X509_get_extended_key_usage(user.get()), static_cast<uint32_t>(XKU_SSL_CLIENT));
  EXPECT_EQ(X509_get_key_usage(user.get()), static_cast<uint32_t>(KU_DIGITAL_SIGNATURE));
  EXPECT_EQ(X509_check_ca(user.get()), 0);
  EXPECT_NEAR(static_cast<double>(end("user")), 3600, 5);
  EXPECT_EQ(X509_get_extended_key_usage(node.get()), static_cast<uint32_t>(XKU_SSL_SERVER));
  EXPECT_EQ(X509_check_host(node.get(), "n1", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(node.get(), "10.0.0.1", 0), 1);
  EXPECT_LE(end("node"), 100 * 24 * 3600) << "no longer than the authority's own";
  EXPECT_GT(end("node"), 99 * 24 * 3600);
}

TEST_F(CertificatesTest, WhatASignerDoesNotSignFails) {
  h_.start(std::make_unique<CertificateSigner>(authority()));
  const auto fails = [&](std::string_view signer, const std::string& pem, const json& usages) {
    static int n = 0;
    const std::string name = "r" + std::to_string(++n);
    add(name, signer, pem, usages);
    decide(name, "Approved");
    h_.run(1s);
    EXPECT_FALSE(status(name).contains("certificate"));
    const std::string found = condition(name), head = "Approved Test: Failed SignerValidationFailure: ";
    return found.starts_with(head) ? found.substr(head.size()) : found;
  };
  const std::string org = "system:nodes", node = "system:node:n";
  EXPECT_EQ(fails(kClientSigner, request("a", "b"), kServer), "invalid usage for client certificate: server auth");
  EXPECT_EQ(fails(kClientSigner, request("a", "b"), {"digital signature"}),
            "missing required usage for client certificate: client auth");
  EXPECT_EQ(fails(kClientSigner, "nonsense", kClient), "unable to parse the certificate request");
  EXPECT_EQ(fails(kNodeClientSigner, request(node, "b"), kClient), "subject organization is not system:nodes");
  EXPECT_EQ(fails(kNodeClientSigner, request("n", org), kClient),
            "subject common name does not begin with system:node:");
  EXPECT_EQ(fails(kNodeClientSigner, request(node, org, "DNS:n"), kClient), "DNS subjectAltNames are not allowed");
  EXPECT_EQ(fails(kNodeClientSigner, request(node, org, "IP:10.0.0.1"), kClient), "IP subjectAltNames are not allowed");
  EXPECT_EQ(fails(kNodeClientSigner, request(node, org), kServer),
            "usages did not match [digital signature key encipherment client auth]");
  EXPECT_EQ(fails(kNodeServingSigner, request(node, org), kServer), "DNS or IP subjectAltName is required");
  EXPECT_EQ(fails(kNodeServingSigner, request(node, org, "DNS:n,email:a@b.c"), kServer),
            "Email subjectAltNames are not allowed");
  EXPECT_EQ(fails(kNodeServingSigner, request(node, org, "DNS:n,URI:a://b"), kServer),
            "URI subjectAltNames are not allowed");
}

TEST_F(CertificatesTest, OldRequestsGo) {
  h_.start(std::make_unique<CertificateCleaner>());
  add("waits", kClientSigner, request("a", "b"), kClient);
  add("denied", kClientSigner, request("a", "b"), kClient);
  add("unsigned", kClientSigner, request("a", "b"), kClient);
  add("issued", kClientSigner, request("a", "b"), kClient);
  add("ended", kClientSigner, request("a", "b"), kClient);
  decide("denied", "Denied");
  for (const char* name : {"unsigned", "issued", "ended"}) decide(name, "Approved");
  const auto give = [&](const char* name, int64_t life) {
    const auto made = authority()->sign(request("a", "b"), {"client auth"}, life, h_.loop.wall());
    std::string text;
    model::base64_encode(*made, text);
    h_.cluster.edit("certificatesigningrequests", name, json{{"status", {{"certificate", text}}}}.dump());
  };
  give("issued", 0);
  give("ended", 600);
  h_.run();
  EXPECT_EQ(h_.cluster.count("certificatesigningrequests"), 5u);
  h_.pass(11min);
  EXPECT_EQ(h_.cluster.get("certificatesigningrequests", "ended"), nullptr);
  h_.pass(50min);
  EXPECT_EQ(h_.cluster.keys("certificatesigningrequests"), (std::vector<std::string>{"unsigned", "waits"}));
  h_.pass(23h);
  EXPECT_EQ(h_.cluster.keys("certificatesigningrequests"), (std::vector<std::string>{"unsigned"}));
}

TEST_F(CertificatesTest, AnAuthorityIsACertificateWithItsKey) {
  EXPECT_THAT(Authority::load("x", key_pem_).error().message, HasSubstr("the authority's certificate cannot be read"));
  EXPECT_THAT(Authority::load(root_pem_, "x").error().message, HasSubstr("the authority's key cannot be read"));
  const auto other = pki::make_key();
  const auto foreign = pki::to_pem(other.get());
  EXPECT_THAT(Authority::load(root_pem_, foreign).error().message, HasSubstr("not that of its certificate"));
}

}  // namespace
}  // namespace gantry::controllers

#include "tools/gantry/dev/pki.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tools/gantry/dev/files.h"

namespace gantry::dev {
namespace {

struct PkiTest : ::testing::Test {
  PkiTest() {
    std::string pattern = ::testing::TempDir() + "/gantry-pki-XXXXXX";
    paths.root = ::mkdtemp(pattern.data());
  }
  ~PkiTest() override { std::filesystem::remove_all(paths.root); }

  std::shared_ptr<X509> certificate(const std::string& name) {
    const std::string text = *read_file(paths.pki(name));
    BIO* bio = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
    std::shared_ptr<X509> out(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free);
    BIO_free_all(bio);
    return out;
  }
  bool signed_by_authority(X509* leaf) {
    X509_STORE* store = X509_STORE_new();
    X509_STORE_add_cert(store, certificate("ca.crt").get());
    X509_STORE_CTX* context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, leaf, nullptr);
    const bool valid = X509_verify_cert(context) == 1;
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return valid;
  }

  Paths paths;
};

TEST_F(PkiTest, ServersCarryTheirNames) {
  ASSERT_TRUE(ensure_authority(paths));
  ASSERT_TRUE(ensure_certificate(
      paths, {.file = "apigw", .common_name = "apigw", .organizations = {}, .names = {"localhost", "10.96.0.1"}}));
  const auto leaf = certificate("apigw.crt");
  EXPECT_TRUE(signed_by_authority(leaf.get()));
  EXPECT_EQ(X509_check_host(leaf.get(), "localhost", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "10.96.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "10.96.0.2", 0), 0);
}

TEST_F(PkiTest, ClientsCarryUserAndGroups) {
  ASSERT_TRUE(ensure_authority(paths));
  ASSERT_TRUE(ensure_certificate(
      paths, {.file = "admin", .common_name = "kubernetes-admin", .organizations = {"system:masters"}, .names = {}}));
  const auto leaf = certificate("admin.crt");
  EXPECT_TRUE(signed_by_authority(leaf.get()));
  char text[256];
  X509_NAME_oneline(X509_get_subject_name(leaf.get()), text, sizeof text);
  EXPECT_STREQ(text, "/O=system:masters/CN=kubernetes-admin");
}

TEST_F(PkiTest, WhatIsGoodIsKeptAndWhatIsNotIsMadeAnew) {
  const CertificateRequest request{
      .file = "apigw", .common_name = "apigw", .organizations = {}, .names = {"localhost"}};
  ASSERT_TRUE(ensure_authority(paths));
  ASSERT_TRUE(ensure_certificate(paths, request));
  const std::string first = *read_file(paths.pki("apigw.crt"));
  ASSERT_TRUE(ensure_authority(paths));
  ASSERT_TRUE(ensure_certificate(paths, request));
  EXPECT_EQ(*read_file(paths.pki("apigw.crt")), first);

  auto more = request;
  more.names.emplace_back("127.0.0.1");
  ASSERT_TRUE(ensure_certificate(paths, more));
  const std::string second = *read_file(paths.pki("apigw.crt"));
  EXPECT_NE(second, first);

  std::filesystem::remove(paths.pki("ca.crt"));
  ASSERT_TRUE(ensure_authority(paths));
  ASSERT_TRUE(ensure_certificate(paths, more));
  EXPECT_NE(*read_file(paths.pki("apigw.crt")), second);
  EXPECT_TRUE(signed_by_authority(certificate("apigw.crt").get()));
}

}  // namespace
}  // namespace gantry::dev

#include "libs/pki/pki.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gantry::pki {
namespace {

using ::testing::ElementsAre;

TEST(Pki, ACertificateComesBackFromPem) {
  const auto key = make_key();
  const auto made = begin_certificate(key.get(), 1'000, 2'000'000'000);
  ASSERT_TRUE(add_names(X509_get_subject_name(made.get()), "ann", {"dev", "ops"}));
  ASSERT_TRUE(extend(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE"));
  EXPECT_FALSE(extend(made.get(), made.get(), NID_basic_constraints, "nonsense"));
  ASSERT_GT(X509_sign(made.get(), key.get(), EVP_sha256()), 0);

  const auto read = read_certificate(to_pem(made.get()));
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(X509_verify(read.get(), read_public_key(to_public_pem(key.get())).get()), 1);
  EXPECT_EQ(X509_check_private_key(read.get(), read_key(to_pem(key.get())).get()), 1);
  EXPECT_THAT(entries(X509_get_subject_name(read.get()), NID_organizationName), ElementsAre("dev", "ops"));
  EXPECT_THAT(entries(X509_get_subject_name(read.get()), NID_commonName), ElementsAre("ann"));
  EXPECT_EQ(end_of(read.get()), 2'000'000'000);
  EXPECT_NE(X509_check_ca(read.get()), 0);
}

TEST(Pki, SerialNumbersDiffer) {
  const auto key = make_key();
  const auto one = begin_certificate(key.get(), 0, 1), other = begin_certificate(key.get(), 0, 1);
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber(one.get()), X509_get0_serialNumber(other.get())), 0);
}

TEST(Pki, WhatIsNotThatInPemIsNull) {
  const std::string key = to_pem(make_key().get());
  for (const std::string& text : {std::string(), std::string("nonsense"), key.substr(0, key.size() / 2)}) {
    EXPECT_EQ(read_key(text), nullptr);
    EXPECT_EQ(read_public_key(text), nullptr);
    EXPECT_EQ(read_certificate(text), nullptr);
    EXPECT_EQ(read_request(text), nullptr);
  }
  EXPECT_EQ(read_certificate(key), nullptr);
}

}  // namespace
}  // namespace gantry::pki

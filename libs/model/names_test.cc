#include "libs/model/names.h"

#include <gtest/gtest.h>

namespace gantry::model {
namespace {

TEST(Names, Labels) {
  for (const char* good : {"a", "web-1", "0a", "a--b"}) EXPECT_EQ(check_dns_label(good), "") << good;
  for (const char* bad : {"", "-a", "a-", "A", "a.b", "a_b", "ä"}) EXPECT_NE(check_dns_label(bad), "") << bad;
  EXPECT_EQ(check_dns_label(std::string(63, 'a')), "");
  EXPECT_EQ(check_dns_label(std::string(64, 'a')), "must be no more than 63 bytes");
}

TEST(Names, Subdomains) {
  for (const char* good : {"a", "a.b", "web-1.example.com"}) EXPECT_EQ(check_dns_subdomain(good), "") << good;
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "A.b", "a.-b"}) EXPECT_NE(check_dns_subdomain(bad), "") << bad;
  EXPECT_EQ(check_dns_subdomain(std::string(254, 'a')), "must be no more than 253 bytes");
}

TEST(Names, Services) {
  EXPECT_EQ(check_service_name("web"), "");
  for (const char* bad : {"", "1web", "Web", "web-"}) EXPECT_NE(check_service_name(bad), "") << bad;
}

TEST(Names, QualifiedNames) {
  for (const char* good : {"app", "app.kubernetes.io/name", "a_B.c-d", "1"})
    EXPECT_EQ(check_qualified_name(good), "") << good;
  for (const char* bad : {"", "/a", "a/", "a/b/c", "-a", "a b", "A.B/c"})
    EXPECT_NE(check_qualified_name(bad), "") << bad;
  EXPECT_EQ(check_qualified_name("/a"), "prefix part must be non-empty");
  EXPECT_EQ(check_qualified_name("a/"), "name part must be non-empty");
}

TEST(Names, LabelValues) {
  for (const char* good : {"", "a", "A.b_c-1"}) EXPECT_EQ(check_label_value(good), "") << good;
  for (const char* bad : {"-", "a-", "a b", "ü"}) EXPECT_NE(check_label_value(bad), "") << bad;
}

TEST(Names, PortsVariablesAndSegments) {
  EXPECT_EQ(check_port_name("http-1"), "");
  for (const char* bad : {"", "1", "a--b", "-a", "a-", "HTTP", "abcdefghijklmnop"})
    EXPECT_NE(check_port_name(bad), "") << bad;
  EXPECT_EQ(check_env_name("PATH"), "");
  for (const char* bad : {"", "A=B", "\n"}) EXPECT_NE(check_env_name(bad), "") << bad;
  EXPECT_EQ(check_path_segment("a"), "");
  for (const char* bad : {".", "..", "a/b", "a%"}) EXPECT_NE(check_path_segment(bad), "") << bad;
}

}  // namespace
}  // namespace gantry::model

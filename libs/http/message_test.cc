#include "libs/http/message.h"

#include <gtest/gtest.h>

namespace gantry::http {
namespace {

TEST(Headers, CompareWithoutCaseAndKeepOrder) {
  Headers headers{{"Accept", "a"}, {"accept", "b"}, {"Connection", "keep-alive, Upgrade ,"}};
  EXPECT_EQ(headers.get("ACCEPT"), "a");
  EXPECT_TRUE(headers.has_token("connection", "upgrade"));
  EXPECT_FALSE(headers.has_token("connection", "upgrad"));
  EXPECT_EQ(headers.list("Accept").size(), 2u);
  headers.set("ACCEPT", "c");
  EXPECT_EQ(headers.list("accept"), std::vector<std::string_view>{"c"});
  headers.remove("connection");
  EXPECT_EQ(headers.find("Connection"), nullptr);
  EXPECT_EQ(headers.size(), 1u);
}

TEST(Query, DecodesAndKeepsRepeats) {
  auto query = Query::parse("command=ls&command=-l%20a&&watch&x=a+b%3D&=v");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(query->all("command"), (std::vector<std::string_view>{"ls", "-l a"}));
  EXPECT_TRUE(query->has("watch"));
  EXPECT_EQ(query->get("watch"), "");
  EXPECT_EQ(query->get("x"), "a b=");
  EXPECT_EQ(query->get(""), "v");
  EXPECT_EQ(query->encode(), "command=ls&command=-l%20a&watch=&x=a%20b%3D&=v");
  EXPECT_EQ(Query::parse("a=%4").code(), Code::kBadRequest);
  EXPECT_EQ(Query::parse("a=%zz").code(), Code::kBadRequest);
  EXPECT_EQ(Query::parse("a=%00").code(), Code::kBadRequest);
}

TEST(Path, SegmentsKeepEncodedSlashes) {
  EXPECT_EQ(path_segments("/api/v1//names/a%2Fb"), (std::vector<std::string>{"api", "v1", "names", "a/b"}));
  EXPECT_EQ(path_segments("/"), std::vector<std::string>{});
  EXPECT_EQ(path_segments("/%"), std::nullopt);
}

TEST(Percent, RoundTripsEveryByteButNul) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
}

TEST(StatusText, KnowsTheUsual) {
  EXPECT_STREQ(status_text(200), "OK");
  EXPECT_STREQ(status_text(413), "Payload Too Large");
  EXPECT_STREQ(status_text(799), "Unknown");
}

}  // namespace
}  // namespace gantry::http

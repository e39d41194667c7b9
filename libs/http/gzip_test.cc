#include "libs/http/gzip.h"

#include <gtest/gtest.h>

namespace gantry::http {
namespace {

TEST(Gzip, WhatGoesInComesOut) {
  Gzip gzip;
  std::string packed, text;
  for (int i = 0; i < 1000; ++i) {
    const auto piece = std::to_string(i * 7919) + std::string(i % 50, 'x');
    text += piece;
    gzip.add(piece, false, packed);
  }
  gzip.add("", true, packed);
  EXPECT_LT(packed.size(), text.size() / 2);
  EXPECT_EQ(gunzip(packed), text);
  EXPECT_EQ(gunzip(packed.substr(0, packed.size() / 2)), "");
  EXPECT_EQ(gunzip("nonsense"), "");
}

TEST(Gzip, OnlyWhoAsksForItGetsIt) {
  const auto asks = [](const char* value) { return accepts_gzip(Headers{{"Accept-Encoding", value}}); };
  EXPECT_TRUE(asks("gzip"));
  EXPECT_TRUE(asks("br, gzip;q=0.5"));
  EXPECT_TRUE(asks("*"));
  EXPECT_FALSE(asks("gzip;q=0"));
  EXPECT_FALSE(asks("identity"));
  EXPECT_FALSE(asks(""));
  EXPECT_FALSE(accepts_gzip({}));
}

}  // namespace
}  // namespace gantry::http

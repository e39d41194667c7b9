#include "tools/gantry/client/table.h"

#include <gtest/gtest.h>

namespace gantry::client {
namespace {

const auto kTable = nlohmann::json::parse(R"({
  "columnDefinitions": [{"name":"Name","priority":0},{"name":"Ready","priority":0},{"name":"Node","priority":1}],
  "rows": [{"cells":["web-1","1/1","node-1"],"object":{"metadata":{"namespace":"default"}}},
           {"cells":["database-0",0,null],"object":{"metadata":{"namespace":"db"}}}]})");

TEST(Table, AlignsAndHidesLowPriorities) {
  EXPECT_EQ(print_table(kTable, {}), "NAME         READY\nweb-1        1/1\ndatabase-0   0\n");
}

TEST(Table, WideWithNamespacesAndPrefix) {
  EXPECT_EQ(print_table(kTable, {.wide = true, .namespaces = true, .prefix = "pod/"}),
            "NAMESPACE   NAME             READY   NODE\ndefault     pod/web-1        1/1     node-1\ndb          "
            "pod/database-0   0       <none>\n");
}

TEST(Table, WithoutHeaders) {
  EXPECT_EQ(print_table(kTable, {.headers = false}), "web-1        1/1\ndatabase-0   0\n");
}

}  // namespace
}  // namespace gantry::client

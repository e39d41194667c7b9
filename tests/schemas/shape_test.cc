#include "tests/schemas/shape.h"

#include <flatbuffers/idl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
namespace gantry::schemas {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Shape parse(const std::string& text) {
  flatbuffers::Parser parser;
  EXPECT_TRUE(parser.Parse(text.c_str())) << parser.error_;
  parser.Serialize();
  return shape_of(*reflection::GetSchema(parser.builder_.GetBufferPointer()));
}

TEST(Schemas, KeepWhatTheLastReleasePromised) {
  std::ifstream file("schemas/released.txt");
  ASSERT_TRUE(file) << "run from the top of the checkout";
  std::stringstream text;
  text << file.rdbuf();
  auto released = read_shape(text.str());
  ASSERT_GT(released.size(), 500u);
  EXPECT_THAT(breaks(released, current_shape()), IsEmpty());
}

TEST(SchemaShape, SurvivesBeingWritten) {
  auto shape = current_shape();
  EXPECT_EQ(read_shape("# a comment\n\n" + write_shape(shape)), shape);
}

constexpr auto kBefore = R"(
  enum Colour: byte { Red = 0, Green = 1 }
  struct Point { x: int; y: int; }
  table Leaf { name: string (id: 0, key); }
  union Any { Leaf }
  table Tree {
    height: int = null (id: 0);
    colour: Colour = Green (id: 1);
    leaves: [Leaf] (id: 2);
    at: Point (id: 3);
    any: Any (id: 5);
  })";

std::vector<std::string> changed(const std::string& what, const std::string& by) {
  std::string text = kBefore;
  auto at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  text.replace(at, what.size(), by);
  return breaks(parse(kBefore), parse(text));
}

TEST(SchemaShape, MayGrow) {
  EXPECT_THAT(changed("at: Point (id: 3);", "at: Point (id: 3); more: string (id: 6);"), IsEmpty());
  EXPECT_THAT(changed("Green = 1 }", "Green = 1, Blue = 2 }"), IsEmpty());
  EXPECT_THAT(changed("table Leaf", "table New { name: string (id: 0); } table Leaf"), IsEmpty());
  EXPECT_THAT(changed("{ Leaf }", "{ Leaf, Tree }"), IsEmpty());
}

TEST(SchemaShape, NeverLosesAField) {
  EXPECT_THAT(changed("height: int = null (id: 0);", "size: int = null (id: 0);"),
              ElementsAre("Tree.height is gone (it was id 0 Int optional); mark it (deprecated) instead"));
  EXPECT_THAT(changed("height: int = null (id: 0);", "height: int = null (id: 0, deprecated);"), IsEmpty());
}

TEST(SchemaShape, NeverRenumbersOrRetypes) {
  EXPECT_THAT(changed("height: int = null (id: 0);\n    colour: Colour = Green (id: 1);",
                      "height: int = null (id: 1);\n    colour: Colour = Green (id: 0);"),
              ElementsAre("Tree.colour was id 1 Byte Colour = 1 and is now id 0 Byte Colour = 1",
                          "Tree.height was id 0 Int optional and is now id 1 Int optional"));
  EXPECT_THAT(changed("height: int", "height: long"),
              ElementsAre("Tree.height was id 0 Int optional and is now id 0 Long optional"));
  EXPECT_THAT(changed("leaves: [Leaf]", "leaves: [string]"),
              ElementsAre("Tree.leaves was id 2 [Leaf] optional and is now id 2 [String] optional"));
  EXPECT_THAT(changed("= null", "= 3"), ElementsAre("Tree.height was id 0 Int optional and is now id 0 Int = 3"));
  EXPECT_THAT(changed("name: string (id: 0, key)", "name: string (id: 0)"),
              ElementsAre("Leaf.name was id 0 String required key and is now id 0 String optional"));
}

TEST(SchemaShape, EnumsAndStructsStay) {
  EXPECT_THAT(changed("Red = 0, Green = 1", "Green = 1, Red = 2"),
              ElementsAre("Colour.Red was value 0 and is now value 2"));
  EXPECT_THAT(changed("y: int;", "y: int; z: int;"),
              ElementsAre("Point was struct of 8 bytes and is now struct of 12 bytes"));
  EXPECT_THAT(changed("union Any { Leaf }", "union Any { Tree, Leaf }").size(), 1u);
}

}  // namespace
}  // namespace gantry::schemas

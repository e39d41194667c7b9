// gantry-schema-shape: prints the shape of the schemas that it was built from; a release keeps it as
// schemas/released.txt.
#include <cstdio>

#include "libs/service/version.h"
#include "tests/schemas/shape.h"

int main() {
  std::printf("# What release %s promised. Written by gantry-schema-shape at a release, never by hand.\n%s",
              gantry::service::kVersion, gantry::schemas::write_shape(gantry::schemas::current_shape()).c_str());
}

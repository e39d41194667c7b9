#include "tools/gantry/dev/images.h"

#include <fmt/format.h>

#include <sstream>

#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/process.h"

namespace gantry::dev {

Result<int> import_images(const Paths& paths, const Cluster& cluster, const std::string& node) {
  const std::vector<std::string> ctr = {"ctr",         "--address", paths.containerd_socket(node),
                                        "--namespace", "k8s.io",    "images"};
  auto listing = ctr;
  listing.push_back("ls");
  auto there = run(listing);
  if (!there) return there.error();
  int imported = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(cluster.images, error)) {
    if (entry.path().extension() != ".digest") continue;
    auto text = read_file(entry.path());
    if (!text) return text.error();
    std::string name, digest;
    std::stringstream(*text) >> name >> digest;
    std::stringstream lines(*there);
    bool present = false;
    for (std::string line; std::getline(lines, line) && !present;) {
      present = line.starts_with(name + " ") && line.find(digest) != std::string::npos;
    }
    if (present) continue;
    auto import = ctr;
    import.insert(import.end(), {"import", std::filesystem::path(entry.path()).replace_extension(".tar").string()});
    if (auto done = run(import); !done) return done.error();
    ++imported;
  }
  if (error)
    return Error{.code = Code::kNotFound,
                 .message = fmt::format("no images in {}: build the target `images`", cluster.images)};
  return imported;
}

}  // namespace gantry::dev

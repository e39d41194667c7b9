#include "services/nodeagent/image/garbage.h"

#include <algorithm>

namespace gantry::nodeagent {

void ImageAges::see(const std::vector<Image>& images, const std::set<std::string>& used, WallMicros now) {
  std::map<std::string, Age> ages;
  for (const auto& image : images) {
    auto& age = ages[image.id];
    const auto before = ages_.find(image.id);
    if (before != ages_.end()) {
      age = before->second;
    } else {
      age.first_seen = now;
    }
    const auto named = [&](const std::vector<std::string>& names) {
      return std::any_of(names.begin(), names.end(), [&](const auto& name) { return used.count(name) != 0; });
    };
    age.in_use = used.count(image.id) != 0 || named(image.tags) || named(image.digests);
    if (age.in_use) age.last_used = now;
  }
  ages_ = std::move(ages);
}

std::vector<std::string> ImageAges::unused(const std::vector<Image>& images, uint64_t bytes, Duration minimum_age,
                                           WallMicros now) const {
  std::vector<std::pair<Age, const Image*>> idle;
  for (const auto& image : images) {
    const auto age = ages_.find(image.id);
    if (image.pinned || age == ages_.end() || age->second.in_use) continue;
    if (now - age->second.first_seen < minimum_age.count()) continue;
    idle.emplace_back(age->second, &image);
  }
  std::stable_sort(idle.begin(), idle.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.last_used, a.first.first_seen) < std::pair(b.first.last_used, b.first.first_seen);
  });
  std::vector<std::string> out;
  uint64_t freed = 0;
  for (const auto& [_, image] : idle) {
    if (freed >= bytes) break;
    out.push_back(image->id);
    freed += image->size;
  }
  return out;
}

uint64_t bytes_to_free(uint64_t capacity, uint64_t available, const ImageGcOptions& options) {
  if (capacity == 0) return 0;
  const uint64_t used = capacity - std::min(capacity, available);
  const auto part = [&](int percent) { return capacity / 100 * static_cast<uint64_t>(percent); };
  return used < part(options.high_percent) ? 0 : used - std::min(used, part(options.low_percent));
}

}  // namespace gantry::nodeagent

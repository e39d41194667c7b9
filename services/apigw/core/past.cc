#include "services/apigw/core/past.h"

#include <algorithm>

#include "services/apigw/core/mirror.h"
#include "services/apigw/core/reads.h"

namespace gantry::apigw {
namespace {

constexpr size_t kMaxKept = 8;

}  // namespace

std::shared_ptr<const Past::Undone> Past::at(const Mirror& mirror, uint64_t revision) {
  const auto first = mirror.after(revision);
  if (!first) return nullptr;
  auto it = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.revision == revision; });
  if (it == kept_.end() || it->until < *first) {
    if (it != kept_.end()) kept_.erase(it);
    if (*first == mirror.end()) return std::make_shared<Undone>();
    kept_.push_front({revision, *first, std::make_shared<Undone>()});
    if (kept_.size() > kMaxKept) kept_.pop_back();
  } else {
    kept_.splice(kept_.begin(), kept_, it);
  }
  auto& kept = kept_.front();
  for (; kept.until < mirror.end(); ++kept.until) {
    const auto& entry = mirror.entry(kept.until);
    kept.undone->emplace(key_of(entry.after ? entry.after : entry.before), entry.before);  // the earliest change counts
  }
  return kept.undone;
}

void Past::forget_before(uint64_t oldest) {
  kept_.remove_if([&](const Kept& k) { return k.revision < oldest; });
}

}  // namespace gantry::apigw

// Where a struct or value stands in its object. A chain on the stack: the text of the path is made only when something
// is wrong there. Valid as long as the places above it.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace gantry::apigw {

class At {
 public:
  At() = default;  // the root
  At(const At& above, std::string_view field, int64_t index = -1) : above_(&above), field_(field), index_(index) {}

  std::string path() const {
    if (above_ == nullptr) return {};
    std::string out = above_->path();
    if (!out.empty()) out += '.';
    out += field_;
    return index_ < 0 ? out : fmt::format("{}[{}]", out, index_);
  }

 private:
  const At* above_ = nullptr;
  std::string_view field_;
  int64_t index_ = -1;
};

}  // namespace gantry::apigw

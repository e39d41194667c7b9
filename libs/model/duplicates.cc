#include "libs/model/duplicates.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace gantry::model {
namespace {

class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<std::string> take() { return std::move(found_); }

  bool null() override { return next(); }
  bool boolean(bool) override { return next(); }
  bool number_integer(number_integer_t) override { return next(); }
  bool number_unsigned(number_unsigned_t) override { return next(); }
  bool number_float(number_float_t, const string_t&) override { return next(); }
  bool string(string_t&) override { return next(); }
  bool binary(binary_t&) override { return next(); }

  bool start_object(std::size_t) override { return enter(false); }
  bool start_array(std::size_t) override { return enter(true); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(string_t& key) override {
    auto& level = levels_.back();
    level.key = key;
    if (level.keys.insert(key).second) return true;
    std::string path = this->path();
    if (std::find(found_.begin(), found_.end(), path) == found_.end()) found_.push_back(std::move(path));
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  struct Level {
    bool array = false;
    size_t index = 0;
    std::string key;
    std::set<std::string> keys;
  };

  bool enter(bool array) {
    levels_.push_back({.array = array});
    return true;
  }
  bool leave() {
    levels_.pop_back();
    return next();
  }
  bool next() {
    if (!levels_.empty()) ++levels_.back().index;
    return true;
  }

  std::string path() const {
    std::string out;
    for (const auto& level : levels_) {
      if (level.array) {
        out += fmt::format("[{}]", level.index);
      } else {
        out += (out.empty() ? "" : ".") + level.key;
      }
    }
    return out;
  }

  std::vector<Level> levels_;
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> duplicate_keys(std::string_view json) {
  Reader reader;
  nlohmann::json::sax_parse(json, &reader);
  return reader.take();
}

}  // namespace gantry::model

#include "services/nodeagent/agent/sequence.h"

#include <charconv>
#include <fstream>

#include "services/nodeagent/volume/setup.h"

namespace gantry::nodeagent {

Result<uint64_t> next_epoch(const std::string& path, uint64_t wall_seconds) {
  std::ifstream in(path);
  std::string text;
  std::getline(in, text);
  uint64_t epoch = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
  if (error != std::errc() || end != text.data() + text.size()) epoch = wall_seconds;
  ++epoch;
  if (auto s = write_file(path, std::to_string(epoch) + "\n"); !s.ok()) return s.error();
  return epoch;
}

}  // namespace gantry::nodeagent

#include "services/nodeagent/volume/csi_record.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "services/nodeagent/volume/setup.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Only a name: what it stands for is in the record.
std::string hash(std::string_view text) {
  uint64_t a = 14695981039346656037u, b = 0x9e3779b97f4a7c15u;
  for (unsigned char c : text) {
    a = (a ^ c) * 1099511628211u;
    b = (b + c) * 0xff51afd7ed558ccdu;
    b ^= b >> 29;
  }
  return fmt::format("{:016x}{:016x}", a, b);
}

}  // namespace

Status write_record(const std::string& file, const CsiRecord& record) {
  return write_file(
      file,
      json{{"driver", record.driver}, {"handle", record.handle}, {"target", record.target}, {"staging", record.staging}}
          .dump(),
      0600);
}

Result<CsiRecord> read_record(const std::string& file) {
  std::ifstream in(file);
  auto parsed = json::parse(in, nullptr, false);
  if (!parsed.is_object()) return Error{Code::kInternal, fmt::format("{} cannot be read", file)};
  CsiRecord record{parsed.value("driver", ""), parsed.value("handle", ""), parsed.value("target", ""),
                   parsed.value("staging", "")};
  if (record.driver.empty() || record.handle.empty())
    return Error{Code::kInternal, fmt::format("{} names no volume", file)};
  return record;
}

Result<std::vector<std::pair<std::string, CsiRecord>>> records_of(const Paths& paths, const std::string& pod_uid) {
  std::vector<std::pair<std::string, CsiRecord>> out;
  std::error_code error;
  for (fs::directory_iterator it(paths.csi_records(pod_uid), error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".json") continue;  // half written: nothing was asked yet
    auto record = read_record(it->path());
    if (!record.ok()) return record.error();
    out.emplace_back(it->path(), std::move(*record));
  }
  return out;
}

Result<bool> in_use(const Paths& paths, const CsiRecord& record) {
  std::error_code error;
  for (fs::directory_iterator it(paths.root + "/pods", error), end; !error && it != end; it.increment(error)) {
    auto records = records_of(paths, it->path().filename());
    if (!records.ok()) return records.error();
    for (const auto& [_, other] : *records) {
      if (other.key() == record.key()) return true;
    }
  }
  return false;
}

std::string staging_directory(const Paths& paths, const std::string& driver, const std::string& handle) {
  return paths.staged_csi() + "/" + hash(driver + "\n" + handle);
}

Result<std::vector<CsiRecord>> staged(const Paths& paths) {
  std::vector<CsiRecord> out;
  std::error_code error;
  for (fs::directory_iterator it(paths.staged_csi(), error), end; !error && it != end; it.increment(error)) {
    auto record = read_record(it->path() / "volume.json");
    if (!record.ok()) continue;  // died before anything was staged
    out.push_back(std::move(*record));
  }
  return out;
}

}  // namespace gantry::nodeagent

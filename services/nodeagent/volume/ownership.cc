#include "services/nodeagent/volume/ownership.h"

#include <fmt/format.h>
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace gantry::nodeagent {

namespace {

// As Kubernetes has it: rw for files, and for directories also x and the bit that hands the group down.
constexpr mode_t kWrite = 0660, kRead = 0440, kSearch = 0110;

mode_t wanted(const Ownership& ownership, mode_t mode) {
  mode_t mask = ownership.read_only ? kRead : kWrite;
  if (S_ISDIR(mode)) mask |= kSearch | S_ISGID;
  return mask;
}

bool right(const struct stat& info, const Ownership& ownership) {
  const mode_t mask = wanted(ownership, info.st_mode);
  return info.st_gid == static_cast<gid_t>(ownership.group) && (info.st_mode & mask) == mask;
}

}  // namespace

Status set_ownership(const std::string& directory, const Ownership& ownership) {
  struct stat top {};
  if (stat(directory.c_str(), &top) != 0)
    return Error{Code::kInternal, fmt::format("reading {}: {}", directory, strerror(errno))};
  if (ownership.on_root_mismatch && right(top, ownership)) return Done{};
  std::string path = directory;
  char* roots[] = {path.data(), nullptr};
  FTS* walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, nullptr);
  if (walk == nullptr) return Error{Code::kInternal, fmt::format("walking {}: {}", directory, strerror(errno))};
  Status outcome = Done{};
  // A directory after what is in it: the top one, which OnRootMismatch looks at, comes last.
  while (FTSENT* entry = fts_read(walk)) {
    if (entry->fts_info == FTS_D) continue;
    if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS) {
      if (entry->fts_errno == ENOENT) continue;  // who uses the volume has removed it meanwhile
      outcome = Error{Code::kInternal, fmt::format("{}: {}", entry->fts_path, strerror(entry->fts_errno))};
      break;
    }
    if (lchown(entry->fts_accpath, static_cast<uid_t>(-1), static_cast<gid_t>(ownership.group)) != 0 &&
        errno != ENOENT) {
      outcome = Error{Code::kInternal, fmt::format("chown {}: {}", entry->fts_path, strerror(errno))};
      break;
    }
    if (S_ISLNK(entry->fts_statp->st_mode)) continue;
    const mode_t mode = (entry->fts_statp->st_mode & 07777) | wanted(ownership, entry->fts_statp->st_mode);
    if (chmod(entry->fts_accpath, mode) != 0 && errno != ENOENT) {
      outcome = Error{Code::kInternal, fmt::format("chmod {}: {}", entry->fts_path, strerror(errno))};
      break;
    }
  }
  fts_close(walk);
  return outcome;
}

}  // namespace gantry::nodeagent

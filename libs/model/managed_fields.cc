#include "libs/model/managed_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "libs/model/equal_field.h"
#include "libs/model/json.h"
#include "libs/model/json_text.h"

namespace gantry::model {

namespace {

constexpr size_t kMaxUpdaters = 10;
constexpr const char* kAncient = "ancient-changes";

std::string in_quotes(std::string_view text) {
  std::string out;
  write_json_string(text, out);
  return out;
}

// `"kubectl" with subresource "scale" using apps/v1 at 2026-01-01T00:00:00Z`: updaters differ by version and time.
std::string words_for(const ManagedEntry& owner) {
  std::string out = in_quotes(owner.manager);
  if (!owner.subresource.empty()) out += fmt::format(" with subresource {}", in_quotes(owner.subresource));
  if (!owner.applied) {
    out += fmt::format(" using {}", owner.api_version);
    if (owner.time) out += fmt::format(" at {}", format_time(*owner.time));
  }
  return out;
}

bool earlier(const ManagedEntry& a, const ManagedEntry& b) {
  if (a.applied != b.applied) return a.applied;
  const int64_t x = a.time.value_or(INT64_MIN), y = b.time.value_or(INT64_MIN);
  return std::tie(x, a.manager, a.api_version, a.subresource) < std::tie(y, b.manager, b.api_version, b.subresource);
}

void drop_empty(ManagedFields& entries) {
  std::erase_if(entries, [](const ManagedEntry& e) { return e.fields.empty(); });
}

// The oldest updaters become one, so that the list does not grow for ever.
void cap_updaters(ManagedFields& entries) {
  const auto updater = [](const ManagedEntry& e) { return !e.applied; };
  auto count = static_cast<size_t>(std::count_if(entries.begin(), entries.end(), updater));
  if (count <= kMaxUpdaters) return;
  std::sort(entries.begin(), entries.end(), earlier);
  std::map<std::string, ManagedEntry> ancient;  // by version
  for (auto& entry : entries) {
    if (entry.applied || count + ancient.size() <= kMaxUpdaters) continue;
    auto& bucket = ancient[entry.api_version];
    bucket.manager = kAncient;
    bucket.api_version = entry.api_version;
    bucket.time = entry.time;
    bucket.fields = bucket.fields.united(entry.fields);
    entry.fields = FieldSet();
    --count;
  }
  drop_empty(entries);
  for (auto& [version, bucket] : ancient) entries.push_back(std::move(bucket));
}

ManagedEntry* find(ManagedFields& entries, const ManagedEntry& writer) {
  for (auto& entry : entries) {
    if (entry.same_writer(writer)) return &entry;
  }
  return nullptr;
}

}  // namespace

bool ManagedEntry::same_writer(const ManagedEntry& other) const {
  return applied == other.applied && manager == other.manager && subresource == other.subresource &&
         (applied || api_version == other.api_version);
}

bool ManagedEntry::operator==(const ManagedEntry& other) const {
  return same_writer(other) && api_version == other.api_version && time == other.time && fields == other.fields;
}

bool has_managed_fields(const Object& object) {
  return object.meta() != nullptr && object.meta()->managed_fields() != nullptr &&
         object.meta()->managed_fields()->size() > 0;
}

bool same_managed_fields(const Object& a, const Object& b) {
  if (!has_managed_fields(a) || !has_managed_fields(b)) return has_managed_fields(a) == has_managed_fields(b);
  const Field* metadata = a.kind().type->by_json("metadata");
  const Field* field = metadata->type->by_json("managedFields");
  return equal_field(*field, table_of(a.root(), *metadata), table_of(b.root(), *metadata));
}

bool is_reset(const Object& object) {
  if (!has_managed_fields(object) || object.meta()->managed_fields()->size() != 1) return false;
  const auto* entry = object.meta()->managed_fields()->Get(0);
  return str(entry->manager()).empty() && str(entry->operation()).empty() && str(entry->api_version()).empty() &&
         !entry->time().has_value() && str(entry->fields_type()).empty() && entry->fields_v1() == nullptr &&
         str(entry->subresource()).empty();
}

Result<ManagedFields> read_managed_fields(const Object& object) {
  ManagedFields entries;
  if (!has_managed_fields(object)) return entries;
  for (const auto* given : *object.meta()->managed_fields()) {
    ManagedEntry entry;
    entry.manager = str(given->manager());
    entry.api_version = str(given->api_version());
    entry.subresource = str(given->subresource());
    const auto operation = str(given->operation());
    if (operation != "Apply" && operation != "Update") {
      return Error{Code::kBadRequest,
                   fmt::format("an operation of managedFields must be Apply or Update, not {}", in_quotes(operation))};
    }
    if (str(given->fields_type()) != "FieldsV1" || entry.api_version.empty()) {
      return Error{Code::kBadRequest, "an entry of managedFields must have an apiVersion and fieldsType FieldsV1"};
    }
    entry.applied = operation == "Apply";
    if (given->time()) entry.time = *given->time();
    auto fields = FieldSet::from_json(given->fields_v1() == nullptr ? "{}" : str(given->fields_v1()));
    if (!fields.ok()) return std::move(fields.error());
    entry.fields = std::move(*fields);
    if (ManagedEntry* same = find(entries, entry)) {
      same->fields = same->fields.united(entry.fields);
    } else {
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

void write_managed_fields(Draft& draft, ManagedFields entries) {
  if (entries.empty()) return draft.clear("metadata.managedFields");
  std::stable_sort(entries.begin(), entries.end(), earlier);
  std::string text = "[";
  for (const auto& entry : entries) {
    if (text.size() > 1) text += ',';
    text += R"({"manager":)";
    write_json_string(entry.manager, text);
    text += entry.applied ? R"(,"operation":"Apply")" : R"(,"operation":"Update")";
    text += R"(,"apiVersion":)";
    write_json_string(entry.api_version, text);
    if (entry.time) text += fmt::format(R"(,"time":"{}")", format_time(*entry.time));
    text += R"(,"fieldsType":"FieldsV1","fieldsV1":)";
    text += entry.fields.to_json();
    if (!entry.subresource.empty()) {
      text += R"(,"subresource":)";
      write_json_string(entry.subresource, text);
    }
    text += '}';
  }
  text += ']';
  const Status set = draft.set_json("metadata.managedFields", text);
  if (!set.ok()) draft.clear("metadata.managedFields");
}

void strip_unowned(FieldSet& fields) {
  for (const char* name : {"f:apiVersion", "f:kind", "f:metadata"}) fields.erase({name});
  for (const char* name : {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName",
                           "f:generation", "f:managedFields", "f:resourceVersion"}) {
    fields.erase({"f:metadata", name});
  }
}

FieldSet all_fields(const Type& type, const flatbuffers::Table* object) {
  FieldSet fields = field_changes(type, nullptr, object).added;
  strip_unowned(fields);
  return fields;
}

bool note_update(ManagedFields& entries, const FieldChanges& changes, const ManagedEntry& writer) {
  FieldSet touched = changes.added.united(changes.modified), removed = changes.removed;
  strip_unowned(touched);
  strip_unowned(removed);
  if (touched.empty() && removed.empty()) return false;
  const ManagedFields before = entries;
  const FieldSet lost = touched.united(removed);
  for (auto& entry : entries) entry.fields = entry.fields.without(entry.same_writer(writer) ? removed : lost);
  if (!touched.empty()) {
    ManagedEntry* own = find(entries, writer);
    if (own == nullptr) own = &entries.emplace_back(writer);
    own->fields = own->fields.united(touched);
    own->time = writer.time;
  }
  drop_empty(entries);
  cap_updaters(entries);
  return !(entries == before);
}

std::vector<FieldConflict> conflicts_of(const ManagedFields& entries, const FieldChanges& changes,
                                        const ManagedEntry& applier) {
  FieldSet touched = changes.added.united(changes.modified);
  strip_unowned(touched);
  std::vector<FieldConflict> conflicts;
  for (const auto& entry : entries) {
    if (entry.same_writer(applier)) continue;
    entry.fields.common(touched).for_each([&](const FieldSet::Path& path) {
      FieldConflict conflict{entry, to_string(path), {}};
      conflict.owner.fields = FieldSet();
      conflict.fields.insert(path);
      conflicts.push_back(std::move(conflict));
    });
  }
  return conflicts;
}

Error conflict_error(const std::vector<FieldConflict>& conflicts) {
  Error error{Code::kConflict, ""};
  std::map<std::string, std::vector<std::string>> by_owner;
  for (const auto& conflict : conflicts) {
    const std::string owner = words_for(conflict.owner);
    error.causes.push_back({"FieldManagerConflict", fmt::format("conflict with {}", owner), conflict.path});
    by_owner[owner].push_back(conflict.path);
  }
  if (conflicts.size() == 1) {
    error.message = fmt::format("Apply failed with 1 conflict: {}: {}", error.causes[0].message, conflicts[0].path);
    return error;
  }
  std::string list;
  for (const auto& [owner, paths] : by_owner) {
    list += fmt::format("{}conflicts with {}:", list.empty() ? "" : "\n", owner);
    for (const auto& path : paths) list += fmt::format("\n- {}", path);
  }
  error.message = fmt::format("Apply failed with {} conflicts: {}", conflicts.size(), list);
  return error;
}

bool note_apply(ManagedFields& entries, const FieldChanges& changes, const ManagedEntry& applier) {
  FieldSet lost = changes.added.united(changes.modified).united(changes.removed);
  strip_unowned(lost);
  const ManagedFields before = entries;
  for (auto& entry : entries) {
    if (!entry.same_writer(applier)) entry.fields = entry.fields.without(lost);
  }
  ManagedEntry* own = find(entries, applier);
  if (own == nullptr) {
    entries.push_back(applier);
  } else if (!(own->fields == applier.fields) || own->api_version != applier.api_version) {
    *own = applier;
  }
  drop_empty(entries);
  return !(entries == before);
}

void touch(ManagedFields& entries, const ManagedEntry& writer) {
  if (ManagedEntry* own = find(entries, writer)) own->time = writer.time;
}

}  // namespace gantry::model

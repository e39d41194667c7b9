#include "libs/model/served.h"

#include <flatbuffers/reflection.h>
#include <glog/logging.h>

#include <algorithm>
#include <unordered_map>

extern "C" const uint8_t gantry_schema_begin[];

namespace gantry::model {

namespace {

constexpr std::string_view kAllVerbs = "create,delete,deletecollection,get,list,patch,update,watch";

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  for (size_t end = 0; !list.empty(); list.remove_prefix(std::min(end + 1, list.size()))) {
    end = std::min(list.find(','), list.size());
    out.emplace_back(list.substr(0, end));
  }
  return out;
}

struct Index {
  std::vector<Served> served;  // as Schema::kinds()
  std::unordered_map<std::string, const Kind*> by_token, by_path;

  Index() {
    const auto& schema = Schema::get();
    const auto* objects = reflection::GetSchema(gantry_schema_begin)->objects();
    for (const auto& kind : schema.kinds()) {
      const auto* attributes = objects->LookupByKey(kind.type->full_name.c_str())->attributes();
      const auto text = [&](const char* name) -> const flatbuffers::String* {
        const auto* attribute = attributes->LookupByKey(name);
        return attribute == nullptr ? nullptr : attribute->value();
      };
      Served one;
      const auto* verbs = text("verbs");
      one.verbs = split(verbs == nullptr ? kAllVerbs : verbs->string_view());
      if (const auto* why = text("refuses")) one.refuses = why->str();
      one.is_virtual = attributes->LookupByKey("virtual") != nullptr;
      if (!kind.resource.empty() && !one.is_virtual) {
        const auto* storage = text("storage");
        one.storage = storage == nullptr ? &kind : schema.by_api_version(storage->string_view(), kind.kind);
        CHECK(one.storage != nullptr) << "schema: no kind is stored for " << kind.type->full_name;
      }
      const bool own = one.is_virtual ? schema.by_resource(kind.resource) == nullptr : one.storage == &kind;
      one.token = own ? kind.resource : kind.resource + "." + kind.version + "." + kind.group;
      if (!kind.resource.empty()) {
        CHECK(by_token.emplace(one.token, &kind).second) << "schema: two resources " << one.token;
        by_path.emplace(kind.group + "/" + kind.version + "/" + kind.resource, &kind);
      }
      served.push_back(std::move(one));
    }
  }
  static const Index& get() {
    static const Index* index = new Index();
    return *index;
  }
};

const Kind* look_up(const std::unordered_map<std::string, const Kind*>& map, const std::string& key) {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : it->second;
}

}  // namespace

bool Served::has_verb(std::string_view verb) const {
  return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

const Served& served(const Kind& kind) {
  return Index::get().served[static_cast<size_t>(&kind - Schema::get().kinds().data())];
}

const Kind* kind_by_token(std::string_view token) { return look_up(Index::get().by_token, std::string(token)); }

const Kind* kind_by_path(std::string_view group, std::string_view version, std::string_view resource) {
  std::string path(group);
  path.append("/").append(version).append("/").append(resource);
  return look_up(Index::get().by_path, path);
}

}  // namespace gantry::model

#include "services/controllers/volumebinder/drivers.h"

#include "libs/model/node_selector.h"
#include "libs/model/quantity.h"
#include "libs/model/workload.h"
#include "services/controllers/volumebinder/matching.h"

namespace gantry::controllers {

using api::storage_v1::CSINode;
using api::storage_v1::StorageClass;
using model::str;
using nlohmann::json;

namespace {

constexpr std::string_view kOwnParameters = "csi.storage.k8s.io/";

const api::storage_v1::CSINodeDriver* driver_on(const model::Object& csi_node, std::string_view driver) {
  const auto* spec = csi_node.as<CSINode>()->spec();
  if (spec == nullptr || spec->drivers() == nullptr) return nullptr;
  for (const auto* d : *spec->drivers()) {
    if (str(d->name()) == driver) return d;
  }
  return nullptr;
}

const char* access_mode(std::string_view mode) {
  if (mode == "ReadWriteMany") return "MULTI_NODE_MULTI_WRITER";
  if (mode == "ReadOnlyMany") return "MULTI_NODE_READER_ONLY";
  return "SINGLE_NODE_WRITER";
}

std::string fs_type(const StorageClass& c) {
  return std::string(c.parameters() == nullptr ? "" : str(model::lookup(c.parameters(), "csi.storage.k8s.io/fstype")));
}

json strings(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* from) {
  json out = json::array();
  if (from != nullptr) {
    for (const auto* s : *from) out.push_back(std::string(str(s)));
  }
  return out;
}

bool is_block(const core::PersistentVolumeClaimSpec& spec) { return str(spec.volume_mode()) == "Block"; }

}  // namespace

std::string node_with(const View& view, std::string_view driver, const core::NodeSelector* affinity,
                      const std::string& only) {
  std::string ready, any;
  view.cache("csinodes").for_each([&](const model::Object& csi_node) {
    if (driver_on(csi_node, driver) == nullptr || (!only.empty() && csi_node.name() != only)) return;
    const model::Object* node = view.find("nodes", "", csi_node.name());
    if (node == nullptr) return;
    if (affinity != nullptr && !model::matches(affinity, node->meta()->labels(), node->name())) return;
    any = node->name();
    if (ready.empty() && model::node_ready(*node->as<core::Node>())) ready = node->name();
  });
  return ready.empty() ? any : ready;
}

bus::Command call_driver(const std::string& node, std::string_view driver, std::string_view method,
                         const json& request) {
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "nodes";
  command.subresource = "csi";
  command.name = node;
  command.json =
      json{{"driver", driver}, {"method", fmt::format("csi.v1.Controller/{}", method)}, {"request", request}}.dump();
  command.because = method;
  return command;
}

const Answer* answer_to(const Memory& memory, std::string_view method) {
  for (const Answer& answer : memory.answers) {
    if (answer.command.subresource == "csi" && answer.command.because == method) return &answer;
  }
  return nullptr;
}

json body_of(const Answer& answer) {
  auto parsed = answer.result.ok() ? json::parse(answer.result->json, nullptr, false) : json::object();
  return parsed.is_object() ? parsed : json::object();
}

json creation(const View& view, const model::Object& claim, const model::Object& storage_class,
              const std::string& node) {
  const auto& spec = *claim.as<core::PersistentVolumeClaim>()->spec();
  const auto& c = *storage_class.as<StorageClass>();
  json request{{"name", fmt::format("pvc-{}", claim.uid())},
               {"capacity_range", {{"required_bytes", std::to_string(requested(spec))}}},
               {"volume_capabilities", json::array()}};
  if (spec.access_modes() != nullptr) {
    for (const auto* mode : *spec.access_modes()) {
      json capability{{"access_mode", {{"mode", access_mode(str(mode))}}}};
      if (is_block(spec)) {
        capability["block"] = json::object();
      } else {
        capability["mount"] = {{"fs_type", fs_type(c)}, {"mount_flags", strings(c.mount_options())}};
      }
      request["volume_capabilities"].push_back(std::move(capability));
    }
  }
  if (c.parameters() != nullptr) {
    for (const auto* p : *c.parameters()) {
      if (!str(p->key()).starts_with(kOwnParameters))
        request["parameters"][std::string(str(p->key()))] = std::string(str(p->value()));
    }
  }
  const model::Object* csi_node = view.find("csinodes", "", node);
  const model::Object* object = view.find("nodes", "", node);
  const auto* driver = csi_node == nullptr ? nullptr : driver_on(*csi_node, str(c.provisioner()));
  if (object == nullptr || driver == nullptr || driver->topology_keys() == nullptr) return request;
  json segments = json::object();
  for (const auto* key : *driver->topology_keys()) {
    if (const auto* value = model::lookup(object->meta()->labels(), str(key)))
      segments[std::string(str(key))] = std::string(str(value));
  }
  const json topology = json::array({{{"segments", segments}}});
  request["accessibility_requirements"] = {{"requisite", topology}, {"preferred", topology}};
  return request;
}

json made_volume(const model::Object& claim, const model::Object& storage_class, const json& answer) {
  const auto& spec = *claim.as<core::PersistentVolumeClaim>()->spec();
  const auto& c = *storage_class.as<StorageClass>();
  const std::string driver(str(c.provisioner()));
  const json volume = answer.value("volume", json::object());
  int64_t capacity = std::strtoll(volume.value("capacity_bytes", "0").c_str(), nullptr, 10);
  if (capacity <= 0) capacity = requested(spec);
  const std::string reclaim(str(c.reclaim_policy()).empty() ? "Delete" : str(c.reclaim_policy()));
  json csi{{"driver", driver}, {"volumeHandle", volume.value("volume_id", "")}};
  if (!is_block(spec) && !fs_type(c).empty()) csi["fsType"] = fs_type(c);
  if (const auto context = volume.value("volume_context", json::object()); !context.empty())
    csi["volumeAttributes"] = context;
  json out{{"apiVersion", "v1"},
           {"kind", "PersistentVolume"},
           {"metadata",
            {{"name", fmt::format("pvc-{}", claim.uid())},
             {"annotations", {{kProvisionedBy, driver}}},
             {"finalizers", json::array({"kubernetes.io/pv-protection"})}}},
           {"spec",
            {{"capacity", {{"storage", model::Quantity::from_bytes(capacity).to_string()}}},
             {"accessModes", strings(spec.access_modes())},
             {"persistentVolumeReclaimPolicy", reclaim},
             {"storageClassName", storage_class.name()},
             {"volumeMode", is_block(spec) ? "Block" : "Filesystem"},
             {"claimRef",
              {{"apiVersion", "v1"},
               {"kind", "PersistentVolumeClaim"},
               {"namespace", claim.ns()},
               {"name", claim.name()},
               {"uid", claim.uid()}}},
             {"csi", std::move(csi)}}}};
  if (reclaim == "Delete") out["metadata"]["finalizers"].push_back(kProvisionerFinalizer);
  if (const auto options = strings(c.mount_options()); !options.empty()) out["spec"]["mountOptions"] = options;
  json terms = json::array();
  for (const auto& topology : volume.value("accessible_topology", json::array())) {
    json expressions = json::array();
    const auto segments = topology.value("segments", json::object());
    for (const auto& [key, value] : segments.items())
      expressions.push_back({{"key", key}, {"operator", "In"}, {"values", json::array({value})}});
    if (!expressions.empty()) terms.push_back({{"matchExpressions", std::move(expressions)}});
  }
  if (!terms.empty()) out["spec"]["nodeAffinity"] = {{"required", {{"nodeSelectorTerms", std::move(terms)}}}};
  return out;
}

}  // namespace gantry::controllers

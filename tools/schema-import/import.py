#!/usr/bin/env python3
"""Prints FlatBuffers tables for Kubernetes types from fact tables (types and protobuf numbers as TSV).

    import.py --facts DIR --out schemas/api core/v1/Pod apps/v1/Deployment ...

Each named kind and every type that it reaches is written to <group>_<version>.fbs. Types that a file already has are left as they
are, so hand edits stay; what is new is appended. Fields get ids in the order of their protobuf numbers, which only ever grow.
"""
import argparse, collections, os, re

SCALARS = {"string": "string", "boolean": "bool", "integer:int32": "int", "integer:int64": "long", "number:double": "double"}
PREFIX = "apimachinery.pkg."
SPECIAL = {
    PREFIX + "apis.meta.v1.Time": ("long", "time"),
    PREFIX + "apis.meta.v1.MicroTime": ("long", "microtime"),
    PREFIX + "api.resource.Quantity": ("string", "quantity"),
    PREFIX + "util.intstr.IntOrString": ("IntOrString", "int-or-string"),
    PREFIX + "runtime.RawExtension": ("string", "json"),
    PREFIX + "apis.meta.v1.FieldsV1": ("string", "json"),
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": ("string", "json"),
}
# Go pointers to scalars: their zero value is a value, also in protobuf, where other zero scalars mean "absent". By the field's name,
# where every type that has it agrees ...
NULLABLE = set("""
replicas revisionHistoryLimit progressDeadlineSeconds terminationGracePeriodSeconds deletionGracePeriodSeconds activeDeadlineSeconds
automountServiceAccountToken shareProcessNamespace setHostnameAsFQDN hostUsers enableServiceLinks priority preemptionPolicy
runtimeClassName tolerationSeconds privileged runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation runAsUser runAsGroup fsGroup
fsGroupChangePolicy supplementalGroupsPolicy procMount gmsaCredentialSpec gmsaCredentialSpecName runAsUserName hostProcess
seLinuxChangePolicy optional defaultMode mode expirationSeconds immutable controller blockOwnerDeletion minDomains
nodeAffinityPolicy nodeTaintsPolicy internalTrafficPolicy ipFamilyPolicy loadBalancerClass allocateLoadBalancerNodePorts appProtocol
trafficDistribution holderIdentity leaseDurationSeconds leaseTransitions preferredHolder ready serving terminating started
hostnameOverride partition volumeMode storageClassName volumeAttributesClassName ipMode stopSignal recursiveReadOnly mountPropagation
signerName localhostProfile swapBehavior resourceClaimName resourceClaimTemplateName userNamespaces recursiveReadOnlyMounts
terminatingReplicas unhealthyPodEvictionPolicy collisionCount completions parallelism orphanDependents propagationPolicy
gracePeriodSeconds ignoreStoreReadErrorWithClusterBreakingPotential backoffLimit ttlSecondsAfterFinished completionMode manualSelector
""".split())
# ... and else by type (with its group where two types share a name).
NULLABLE_IN = {
    "discovery_v1.EndpointPort": "name protocol port", "core_v1.EndpointAddress": "nodeName", "Endpoint": "nodeName zone hostname",
    "ClientIPConfig": "timeoutSeconds", "GRPCAction": "service", "LeaseSpec": "strategy", "Container": "restartPolicy",
    "EphemeralContainer": "restartPolicy", "HTTPIngressPath": "pathType", "ClusterTrustBundleProjection": "name",
    "PodCertificateProjection": "maxExpirationSeconds", "HostPathVolumeSource": "type", "PortStatus": "error", "NodeSwapStatus": "capacity",
    "AzureDiskVolumeSource": "fsType readOnly cachingMode kind", "CSIVolumeSource": "readOnly fsType", "ISCSIVolumeSource": "initiatorName",
    "FCVolumeSource": "lun", "Preconditions": "uid resourceVersion", "TypedLocalObjectReference": "apiGroup",
    "TypedObjectReference": "apiGroup namespace", "PodDNSConfigOption": "value",
    "LocalVolumeSource": "fsType", "AzureFilePersistentVolumeSource": "secretNamespace", "ISCSIPersistentVolumeSource": "initiatorName",
    "GlusterfsPersistentVolumeSource": "endpointsNamespace", "PersistentVolumeClaimStatus": "currentVolumeAttributesClassName",
    "PodFailurePolicyOnExitCodesRequirement": "containerName", "SuccessPolicyRule": "succeededIndexes succeededCount",
    "JobSpec": "suspend backoffLimitPerIndex maxFailedIndexes podReplacementPolicy managedBy", "JobStatus": "failedIndexes",
    "CronJobSpec": "startingDeadlineSeconds suspend successfulJobsHistoryLimit failedJobsHistoryLimit timeZone",
    "MetricTarget": "averageUtilization", "MetricValueStatus": "averageUtilization",
    "HPAScalingRules": "selectPolicy stabilizationWindowSeconds",
    "HorizontalPodAutoscalerSpec": "minReplicas targetCPUUtilizationPercentage",
    "HorizontalPodAutoscalerStatus": "observedGeneration currentCPUUtilizationPercentage",
    "IngressSpec": "ingressClassName", "IngressPortStatus": "error", "IngressClassParametersReference": "scope namespace apiGroup",
    "NetworkPolicyPort": "protocol endPort", "StorageClass": "reclaimPolicy allowVolumeExpansion volumeBindingMode",
    "CSIDriverSpec": "attachRequired podInfoOnMount storageCapacity fsGroupPolicy requiresRepublish seLinuxMount "
                     "nodeAllocatableUpdatePeriodSeconds",
    "VolumeNodeResources": "count", "VolumeAttachmentSource": "persistentVolumeName", "VolumeError": "errorCode",
    "ServiceReference": "path port", "WebhookClientConfig": "url", "RuleWithOperations": "scope", "NamedRuleWithOperations": "scope",
    "MutatingWebhook": "failurePolicy sideEffects timeoutSeconds matchPolicy reinvocationPolicy",
    "ValidatingWebhook": "failurePolicy sideEffects timeoutSeconds matchPolicy", "MatchResources": "matchPolicy",
    "Validation": "reason", "ValidatingAdmissionPolicySpec": "failurePolicy", "ParamRef": "parameterNotFoundAction",
    "JSONSchemaProps": "maximum minimum maxLength minLength maxItems minItems multipleOf maxProperties minProperties $ref "
                       "x-kubernetes-preserve-unknown-fields x-kubernetes-list-type x-kubernetes-map-type",
    "ValidationRule": "reason optionalOldSelf", "CustomResourceSubresourceScale": "labelSelectorPath",
    "CustomResourceDefinitionVersion": "deprecationWarning",
    "LimitedPriorityLevelConfiguration": "nominalConcurrencyShares lendablePercent borrowingLimitPercent",
    "ExemptPriorityLevelConfiguration": "nominalConcurrencyShares lendablePercent",
    "DeviceClassSpec": "extendedResourceName", "ExactDeviceRequest": "adminAccess",
    "DeviceConstraint": "matchAttribute distinctAttribute", "DeviceRequestAllocationResult": "adminAccess shareID",
    "AllocatedDeviceStatus": "shareID", "DeviceAttribute": "int bool string version",
    "resource_v1.Device": "nodeName allNodes bindsToNode allowMultipleAllocations",
    "ResourceSliceSpec": "nodeName allNodes perDeviceNodeSelection",
}
NOT_NULLABLE = {
    "DeploymentStatus": "replicas", "ReplicaSetStatus": "replicas", "StatefulSetStatus": "replicas", "ScaleStatus": "replicas",
    "ScaleSpec": "replicas", "ReplicationControllerStatus": "replicas", "ContainerStatus": "ready", "GCEPersistentDiskVolumeSource": "partition",
    "AWSElasticBlockStoreVolumeSource": "partition", "PodCertificateProjection": "signerName", "CertificateSigningRequestSpec": "signerName",
    "PodExtendedResourceClaimStatus": "resourceClaimName", "PersistentVolumeSpec": "storageClassName",
    "IngressClassSpec": "controller", "CSIStorageCapacity": "storageClassName", "CustomResourceColumnDefinition": "priority",
    # IntOrString, elsewhere a pointer
    "ServicePort": "targetPort", "HTTPGetAction": "port", "TCPSocketAction": "port",
}


def nullable(group, type_, field, fb):
    def listed(table):
        return field in (table.get(type_, "") + " " + table.get(group + "." + type_, "")).split()
    return not listed(NOT_NULLABLE) and (field in NULLABLE or listed(NULLABLE_IN) or fb.endswith("IntOrString"))


WORDS = {"$ref": "reference", "$schema": "schemaUrl", "enum": "enumeration", "default": "standard", "int": "intValue",
         "bool": "boolValue", "string": "stringValue"}
ATTRIBUTES = """json proto format map wrapped mandatory nullable patch_strategy patch_key list_type list_keys default_value enum_values
kind group version resource singular short_names categories namespaced subresources select columns verbs storage virtual refuses""".split()


def load(path):
    with open(path) as f:
        for line in f:
            if not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


class Facts:
    def __init__(self, folder):
        self.types = collections.OrderedDict()
        self.kinds = {}
        for row in load(os.path.join(folder, "kubernetes-1.34-types.tsv")):
            row += [""] * (11 - len(row))
            if row[1] == "":
                self.types.setdefault(row[0], [])
                if row[9]:
                    self.kinds[row[9]] = row[0]
            else:
                self.types.setdefault(row[0], []).append(row)
        self.proto = collections.defaultdict(list)
        for package, message, number, field, type_ in (r[:5] for r in load(os.path.join(folder, "kubernetes-1.34-protobuf.tsv"))):
            self.proto[package.replace("_", "-") + "." + message].append((int(number), field, type_))

    def is_union(self, type_):
        return not self.types[type_] and any(f == "schema" for _, f, _ in self.proto.get(type_, []))

    def rows(self, type_):
        """The fields of a type; of one that JSON calls "any" those of its protobuf message."""
        if not self.is_union(type_):
            return self.types[type_]
        out = []
        for _, field, ftype in sorted(self.proto[type_]):
            inner = ftype.removeprefix("repeated ")
            json = {"bool": "boolean"}.get(inner, inner if inner in ("string",) or "." in inner else type_.rsplit(".", 1)[0] + "." + inner)
            field = {"jSONSchemas": "schemas"}.get(field, field)
            out.append([type_, field, f"list<{json}>" if inner != ftype else json] + [""] * 8)
        return out

    def proto_paths(self, type_, json_fields, prefix=()):
        package = type_.rsplit(".", 1)[0]
        for number, field, ftype in sorted(self.proto.get(type_, [])):
            names = (field, "$" + field, kebab(field), {"jSONSchemas": "schemas", "uID": "uid", "aPIGroup": "apiGroup"}.get(field))
            field = next((name for name in names if name in json_fields), field)
            if field in json_fields:
                yield field, prefix + (number,)
            else:
                inner = ftype if "." in ftype else package + "." + ftype
                if inner in self.proto:
                    yield from self.proto_paths(inner, json_fields, prefix + (number,))


def kebab(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def snake(name):
    if name in WORDS or not name.isalnum():  # words of the schema language, $ref, x-kubernetes-...
        name = WORDS.get(name) or re.sub(r"[-_](\w)", lambda m: m.group(1).upper(), name.strip("$"))
    name = re.sub(r"(IP|CIDR|PID|IPC|WWID|WWN|URL|URI|ID|CPU|FS)s(?![a-z])", lambda m: m.group(1).capitalize() + "s", name)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(p.capitalize() for p in rest)


def group_of(type_):
    parts = type_.split(".")
    return parts[-3] + "_" + parts[-2]


class Writer:
    def __init__(self, facts, out):
        self.facts, self.out = facts, out
        self.files = collections.OrderedDict()   # group -> list of table texts
        self.uses = collections.defaultdict(set)
        self.done = set()

    def ref(self, group, type_):
        """FlatBuffers type, attributes for a JSON type."""
        if type_ in SCALARS:
            return SCALARS[type_], []
        if type_ == "string:byte":
            return "[ubyte]", ['format: "bytes"']
        if type_ in SPECIAL:
            fb, fmt = SPECIAL[type_]
            return ("gantry.api.meta_v1." + fb if fb == "IntOrString" and group != "meta_v1" else fb), [f'format: "{fmt}"']
        m = re.fullmatch(r"list<(.*)>", type_)
        if m:
            inner, attrs = self.ref(group, m.group(1))
            return f"[{inner}]", attrs
        m = re.fullmatch(r"map<(.*)>", type_)
        if m:
            entry = {"string": "StringEntry", PREFIX + "api.resource.Quantity": "StringEntry", "string:byte": "BytesEntry",
                     "list<string>": "StringsEntry"}.get(m.group(1))
            if entry is None:
                return "[" + self.entry(group, m.group(1)) + "]", ["map"]
            attrs = ["map"] + (['format: "quantity"'] if m.group(1).endswith("Quantity") else
                               ['format: "bytes"'] if m.group(1) == "string:byte" else [])
            self.uses[group].add("meta_v1")
            return "[" + ("" if group == "meta_v1" else "gantry.api.meta_v1.") + entry + "]", attrs
        other = group_of(type_)
        self.table(type_)
        if self.facts.is_union(type_):
            return type_.rsplit(".", 1)[1], ['format: "union"']
        if other != group:
            self.uses[group].add(other)
            return f"gantry.api.{other}.{type_.rsplit('.', 1)[1]}", []
        return type_.rsplit(".", 1)[1], []

    def entry(self, group, type_):
        """An entry of a map of tables (or times); it lives beside the type that has the map."""
        name = type_.rsplit(".", 1)[1] + "Entry"
        if (group, name) not in self.done:
            self.done.add((group, name))
            value, attrs = self.ref(group, type_)
            tail = " = null" if value == "long" else ""
            if name not in self.existing(group):
                self.files.setdefault(group, []).append(
                    f"table {name} {{\n  key: string (id: 0, key);\n  value: {value}{tail} ({', '.join(['id: 1'] + attrs)});\n}}\n")
        return name

    def table(self, type_, kind=None):
        if type_ in self.done:
            return
        self.done.add(type_)
        group, name = group_of(type_), type_.rsplit(".", 1)[1]
        if name in self.existing(group):
            return
        rows = {r[1]: r for r in self.facts.rows(type_)}
        if kind or type_ in self.facts.kinds.values():
            rows.pop("apiVersion", None), rows.pop("kind", None)
        paths = dict(self.facts.proto_paths(type_, rows))
        order = sorted(rows, key=lambda f: (paths.get(f, (10 ** 6,)), f))
        lines = []
        for i, field in enumerate(order):
            _, _, jtype, required, strategy, mkey, ltype, lkeys, default, enum = rows[field][:10]
            fb, extra = self.ref(group, jtype)
            attrs = [f"id: {i}"]
            fname = snake(field)
            if camel(fname) != field:
                attrs.append(f'json: "{field}"')
            if field in paths:
                attrs.append('proto: "' + ".".join(map(str, paths[field])) + '"')
            attrs += extra
            if required:
                attrs.append("mandatory")
            scalar = fb in ("bool", "int", "long", "double", "string") or fb.endswith("IntOrString")
            if scalar and not any("time" in e for e in extra) and nullable(group, name, field, fb):
                attrs.append("nullable")
            for key, value in (("patch_strategy", strategy), ("patch_key", mkey), ("list_type", ltype), ("list_keys", lkeys),
                               ("default_value", default), ("enum_values", enum)):
                if value:
                    value = value.strip('"').replace('"', '')
                    attrs.append(f'{key}: "{value}"')
            tail = " = null" if fb in ("bool", "int", "long", "double") else ""
            lines.append(f"  {fname}: {fb}{tail} ({', '.join(attrs)});")
        head = ""
        if kind:
            g, v, k = kind.split("/")
            head = f' (kind: "{k}", group: "{"" if g == "core" else g}", version: "{v}", resource: "{k.lower()}s", singular: "{k.lower()}", namespaced)'
        self.files.setdefault(group, []).append(f"table {name}{head} {{\n" + "\n".join(lines) + "\n}\n")

    def existing(self, group):
        names = set()
        for path in (os.path.join(self.out, group + ".fbs"), os.path.join(self.out, group.replace("_v", "_more_v") + ".fbs")):
            if os.path.exists(path):
                with open(path) as f:
                    names |= set(re.findall(r"^table (\w+)", f.read(), re.M))
        return names

    def write(self):
        for group, tables in self.files.items():
            path = os.path.join(self.out, group + ".fbs")
            if not os.path.exists(path):
                with open(path, "w") as f:
                    f.write('include "schemas/api/attributes.fbs";\n' if group != "meta_v1" else 'include "schemas/api/attributes.fbs";\n')
                    for use in sorted(self.uses[group] | ({"meta_v1"} if group != "meta_v1" else set())):
                        f.write(f'include "schemas/api/{use}.fbs";\n')
                    f.write(f"\nnamespace gantry.api.{group};\n")
            with open(path, "a") as f:
                f.write("\n" + "\n".join(tables))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--facts", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("kinds", nargs="+")
    a = p.parse_args()
    w = Writer(Facts(a.facts), a.out)
    for kind in a.kinds:
        if kind in w.facts.kinds:
            w.table(w.facts.kinds[kind], kind)
        else:
            w.table(PREFIX + "apis.meta." + kind, None)  # an option type, e.g. v1.DeleteOptions
    w.write()


if __name__ == "__main__":
    main()

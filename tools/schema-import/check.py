#!/usr/bin/env python3
"""Compares schemas/api with the fact tables: every JSON field of every type that is there, with its type, protobuf number, list and
patch attributes, and the nullable marks that import.py would set.

    check.py --facts DIR [--schemas schemas/api]

Prints what differs and exits 1 if anything does.
"""
import argparse, glob, importlib.util, os, re, sys

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("schema_import", os.path.join(HERE, "import.py"))
importer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(importer)

# Named here, not in the facts: what stands for a map's entry and for IntOrString, and what the facts have as protobuf only.
OWN = {"StringEntry", "BytesEntry", "StringsEntry", "IntOrString"}
OWN_GROUPS = {"apiregistration_v1", "metrics_v1beta1"}
LIST = {"patch_strategy": 4, "patch_key": 5, "list_type": 6, "list_keys": 7}


def tables(path):
    """name -> (attributes, {json: (id, fb type, attributes)})"""
    text = re.sub(r"//.*", "", open(path).read())
    for name, head, body in re.findall(r"^table (\w+)\s*(\(.*?\))?\s*\{(.*?)^\}", text, re.M | re.S):
        fields = {}
        for fname, ftype, attrs in re.findall(r"^\s*(\w+): (\S+?)(?: = null)? \((.*)\);", body, re.M):
            a = {k: v for k, v in re.findall(r'(\w+)(?:: "?((?:[^",]|,(?! ))*)"?)?', re.sub(r'"([^"]*)"', lambda m: '"' + m.group(1).replace(", ", ",") + '"', attrs))}
            fields[a.get("json") or importer.camel(fname)] = (int(a["id"]), ftype, a)
        yield name, head, fields


# Made by the gateway without a table: lists, discovery, and what every answer may be.
NO_TABLE = {"APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"}


def missing(facts, schemas):
    """Stable kinds of the facts that no table has, and types that they reach."""
    names = {}
    for path in glob.glob(os.path.join(schemas, "*_v*.fbs")):
        group = os.path.basename(path)[:-4].replace("_more_", "_")
        names.setdefault(group, set()).update(name for name, _, _ in tables(path))
    problems, seen = [], set()

    def reach(full, why):
        full = re.sub(r"^(?:list|map)<(.*)>$", r"\1", full)
        if full != re.sub(r"^(?:list|map)<(.*)>$", r"\1", full):
            return reach(full, why)
        if full in seen or full not in facts.types or full in importer.SPECIAL:
            return
        seen.add(full)
        group, name = importer.group_of(full), full.rsplit(".", 1)[1]
        if name not in names.get(group, ()):
            problems.append(f"{group}.{name}: missing ({why})")
        for row in facts.rows(full):
            reach(row[2], full)

    for kind, full in facts.kinds.items():
        group, version, name = kind.split("/")
        if re.fullmatch(r"v\d+", version) and not name.endswith("List") and name not in NO_TABLE and ".pkg.version" not in full:
            reach(full, kind)
    return problems


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--facts", required=True)
    p.add_argument("--schemas", default=os.path.join(HERE, "../../schemas/api"))
    a = p.parse_args()
    facts = importer.Facts(a.facts)
    by_group = {}
    for full in facts.types:
        if full.count(".") >= 2:
            by_group.setdefault(importer.group_of(full), {})[full.rsplit(".", 1)[1]] = full
    problems, checked = [], 0
    for path in sorted(glob.glob(os.path.join(a.schemas, "*_v*.fbs"))):
        group = os.path.basename(path)[:-4].replace("_more_", "_")
        for name, head, fields in tables(path):
            if name in OWN or name.endswith("Entry") and name != "ManagedFieldsEntry" or group in OWN_GROUPS:
                continue
            where = f"{group}.{name}"
            full = by_group.get(group, {}).get(name)
            if full is None:
                problems.append(f"{where}: no such type in the facts")
                continue
            rows = {r[1]: r for r in facts.rows(full)}
            if head and "kind:" in head:
                rows.pop("apiVersion", None), rows.pop("kind", None)
            numbers = dict(facts.proto_paths(full, rows))
            if sorted(f[0] for f in fields.values()) != list(range(len(fields))):
                problems.append(f"{where}: ids are not 0..{len(fields) - 1}")
            for json in sorted(set(rows) - set(fields)):
                problems.append(f"{where}.{json}: missing")
            for json in sorted(set(fields) - set(rows)):
                problems.append(f"{where}.{json}: not in the facts")
            writer = importer.Writer(facts, a.schemas)
            writer.table = lambda *_: None  # only the type's name
            for json, (_, ftype, attrs) in fields.items():
                if json not in rows:
                    continue
                checked += 1
                row = rows[json] + [""] * (11 - len(rows[json]))
                fb, extra = writer.ref(group, row[2])
                want = {"mandatory": bool(row[3]), "map": row[2].startswith("map<")}
                scalar = fb in ("bool", "int", "long", "double", "string") or fb.endswith("IntOrString")
                want["nullable"] = scalar and not any("time" in e for e in extra) and importer.nullable(group, name, json, fb)
                for key, value in want.items():
                    if (key in attrs) != value:
                        problems.append(f"{where}.{json}: {key} should be {value}")
                if ftype != fb:
                    problems.append(f"{where}.{json}: type {ftype}, should be {fb}")
                formats = [re.search(r'"(.*)"', e).group(1) for e in extra if e.startswith("format")]
                if attrs.get("format", "") != "".join(formats):
                    problems.append(f"{where}.{json}: format {attrs.get('format')}, should be {formats}")
                number = ".".join(map(str, numbers[json])) if json in numbers else ""
                if attrs.get("proto", "") != number:
                    problems.append(f"{where}.{json}: proto {attrs.get('proto')}, should be {number or 'none'}")
                for key, column in LIST.items():
                    if attrs.get(key, "").replace(" ", "") != row[column].replace(" ", ""):
                        problems.append(f"{where}.{json}: {key} {attrs.get(key, '')!r}, should be {row[column]!r}")
    problems += missing(facts, a.schemas)
    for problem in problems:
        print(problem)
    print(f"{checked} fields checked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

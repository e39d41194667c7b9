#!/usr/bin/env python3
"""Makes the images of the dev cluster from files of this machine, without a network and without a container engine.

  build.py --pause FILE --demo FILE --out DIR

writes DIR/<name>.tar, each an OCI image layout that `ctr images import` takes:

  gantry.local/pause:1     the pod's first process, static
  gantry.local/busybox:1   busybox with all its applets (sh, wget, nslookup, nc ...) and the libraries that it is linked to
  gantry.local/demo:1 :2   the demo's web server above busybox; the tag is its VERSION

The same input gives the same bytes, so that an image is imported only when it has changed: DIR/<name>.digest holds the
digest that `ctr images ls` shows.
"""
import argparse
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

BUSYBOX = "/usr/bin/busybox"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG, LAYER, MANIFEST, INDEX = (
    "application/vnd.oci.image." + kind
    for kind in ("config.v1+json", "layer.v1.tar", "manifest.v1+json", "index.v1+json")
)


class Layer:
    """A tar of files, in a fixed order with fixed times and owners."""

    def __init__(self):
        self.entries = {}

    def directory(self, path, mode=0o755):
        self._add(path, tarfile.DIRTYPE, mode)

    def file(self, path, data, mode=0o644):
        self._add(path, tarfile.REGTYPE, mode, data=data)

    def link(self, path, target):
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def copy(self, source, path, mode=0o755):
        self.file(path, pathlib.Path(source).resolve().read_bytes(), mode)

    def _add(self, path, kind, mode, data=b"", target=""):
        path = path.strip("/")
        parent = str(pathlib.PurePosixPath(path).parent)
        if parent != "." and parent not in self.entries:
            self.directory(parent)
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname = kind, mode, len(data), target
        self.entries[path] = (info, data)

    def bytes(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(self.entries):
                info, data = self.entries[path]
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write_image(out, name, tag, layers, config):
    """An OCI layout as a tar; containerd takes the full name from the annotation."""
    blobs = [layer.bytes() for layer in layers]
    image = canonical({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(blob) for blob in blobs]},
        "history": [{"created_by": "tools/images/build.py"} for _ in blobs],
    })
    manifest = canonical({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, image),
        "layers": [descriptor(LAYER, blob) for blob in blobs],
    })
    index = canonical({
        "schemaVersion": 2,
        "manifests": [descriptor(MANIFEST, manifest, platform={"architecture": "amd64", "os": "linux"}, annotations={
            "io.containerd.image.name": f"gantry.local/{name}:{tag}",
            "org.opencontainers.image.ref.name": tag,
        })],
    })
    layout = Layer()
    layout.file("oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
    layout.file("index.json", index)
    for blob in [*blobs, image, manifest]:
        layout.file("blobs/sha256/" + digest(blob).split(":")[1], blob)
    (out / f"{name}-{tag}.tar").write_bytes(layout.bytes())
    (out / f"{name}-{tag}.digest").write_text(f"gantry.local/{name}:{tag} {digest(manifest)}\n")


def pause_layer(binary):
    layer = Layer()
    layer.copy(binary, "pause")
    return layer


def busybox_layer():
    layer = Layer()
    layer.copy(BUSYBOX, "bin/busybox")
    for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        if applet != "busybox":
            layer.link(f"bin/{applet}", "/bin/busybox")
    for line in subprocess.check_output(["ldd", BUSYBOX], text=True).splitlines():
        paths = [word for word in line.split() if word.startswith("/")]
        if paths:
            layer.copy(paths[0], paths[0])
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    layer.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    layer.directory("tmp", 0o1777)
    for path in ("root", "proc", "sys", "dev", "var/run", "usr/bin"):
        layer.directory(path)
    return layer


def demo_layer(binary):
    layer = Layer()
    layer.copy(binary, "usr/bin/demo")
    return layer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pause", required=True)
    parser.add_argument("--demo", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    write_image(args.out, "pause", "1", [pause_layer(args.pause)], {"Entrypoint": ["/pause"], "User": "65534:65534"})
    busybox = busybox_layer()
    write_image(args.out, "busybox", "1", [busybox], {"Cmd": ["sh"], "Env": [PATH]})
    for version in ("1", "2"):
        write_image(args.out, "demo", version, [busybox, demo_layer(args.demo)], {
            "Entrypoint": ["/usr/bin/demo"],
            "Env": [PATH, f"VERSION={version}"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGTERM",
        })


if __name__ == "__main__":
    main()

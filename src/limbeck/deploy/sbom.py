"""Software bill of materials: what a program or a bundle consists of, as CycloneDX JSON.

Nothing is looked up in a network. Names, versions and licences of packages are those that are
installed, and licences that they do not state are left out.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from limbeck._base.version import __version__

SPECIFICATION = "1.6"
RUNTIME_PACKAGES = ("numpy", "pillow", "onnxruntime")
"""Packages that ``run.py`` of a bundle imports."""


def sbom_of_packages(name: str, version: str, packages: Iterable[str]) -> bytes:
    """Describe a program and the installed packages that it needs.

    Args:
        name: Name of the program.
        version: Version of the program.
        packages: Names of the packages that the program imports. Those that they need are added.
    """
    main = {"type": "library", "bom-ref": f"pkg:pypi/{name}@{version}", "name": name}
    main |= {"version": version, "purl": f"pkg:pypi/{name}@{version}"}
    return _document(main, *_libraries(packages))


def sbom_of_bundle(
    name: str,
    models: Mapping[str, bytes],
    files: Mapping[str, bytes],
    packages: Iterable[str] = RUNTIME_PACKAGES,
) -> bytes:
    """Describe a bundle: its models, its other files, and the packages that run them.

    Args:
        name: Title of the model.
        models: Contents of the ONNX files by name.
        files: Contents of the other files by name.
        packages: Names of the packages that ``run.py`` imports.
    """
    main = {"type": "application", "bom-ref": "bundle", "name": name}
    parts: list[dict[str, Any]] = []
    for kind, contents in (("machine-learning-model", models), ("file", files)):
        for file, content in sorted(contents.items()):
            digest = hashlib.sha256(content).hexdigest()
            hashes = [{"alg": "SHA-256", "content": digest}]
            parts.append({"type": kind, "bom-ref": f"file:{file}", "name": file, "hashes": hashes})
    libraries, dependencies = _libraries(packages)
    direct = [*(part["bom-ref"] for part in parts), *dependencies]
    return _document(main, parts + libraries, direct)


def _document(
    main: dict[str, Any], components: list[dict[str, Any]], direct: Iterable[str]
) -> bytes:
    """Put the components into a document, whose number follows from its content."""
    needs = {component["bom-ref"]: component.pop("needs", []) for component in components}
    dependencies = [{"ref": main["bom-ref"], "dependsOn": sorted(direct)}]
    dependencies += [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)]
    tool = {"type": "application", "name": "limbeck", "version": __version__}
    content = {
        "metadata": {"component": main, "tools": {"components": [tool]}},
        "components": components,
        "dependencies": dependencies,
    }
    text = json.dumps(content, sort_keys=True)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, text).urn,
        "version": 1,
        **content,
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _libraries(packages: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the components of packages and of all that they need, and the references of the first.

    Packages that are not installed are left out.
    """
    components: dict[str, dict[str, Any]] = {}
    direct = [ref for name in packages if (ref := _add(name, components)) is not None]
    return [components[name] for name in sorted(components)], direct


def _add(name: str, components: dict[str, dict[str, Any]]) -> str | None:
    """Add a package and what it needs; return its reference, or None if it is not installed."""
    name = canonicalize_name(name)
    if name in components:
        return components[name]["bom-ref"]
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    ref = f"pkg:pypi/{name}@{package.version.replace('+', '%2B')}"
    component: dict[str, Any] = {"type": "library", "bom-ref": ref, "name": name}
    component |= {"version": package.version, "purl": ref}
    if "License-Expression" in package.metadata:
        component["licenses"] = [{"expression": package.metadata["License-Expression"]}]
    components[name] = component
    needs = {_add(needed, components) for needed in _requirements(package)}
    component["needs"] = [needed for needed in needs if needed is not None]
    return ref


def _requirements(package: metadata.Distribution) -> list[str]:
    """Return the names of the packages that a package needs on this machine, without extras."""
    environment: dict[str, str] = {**default_environment(), "extra": ""}  # type: ignore[dict-item]
    names = []
    for line in package.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate(environment):
            names.append(requirement.name)
    return names

"""The bill of materials follows the schema, and names what is there."""

import hashlib
import json
from importlib.metadata import version

import pytest

from limbeck.deploy.sbom import sbom_of_bundle, sbom_of_packages


def check_schema(content: bytes) -> None:
    """Validate a document, where the library of CycloneDX is installed."""
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(content.decode()) is None


def by_name(content: bytes) -> dict[str, dict]:
    return {component["name"]: component for component in json.loads(content)["components"]}


def test_a_bundle_lists_its_models_and_packages(mlp_bundle):
    content = (mlp_bundle / "sbom.cdx.json").read_bytes()
    components = by_name(content)
    model = components["model.onnx"]
    assert model["type"] == "machine-learning-model"
    digest = hashlib.sha256((mlp_bundle / "model.onnx").read_bytes()).hexdigest()
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    for name in ("numpy", "pillow", "onnxruntime"):
        assert components[name]["version"] == version(name)
        assert components[name]["purl"] == f"pkg:pypi/{name}@{version(name)}"
    assert "torch" not in components
    assert "  sbom.cdx.json\n" in (mlp_bundle / "SHA256SUMS").read_text()


def test_documents_follow_the_schema(mlp_bundle):
    check_schema((mlp_bundle / "sbom.cdx.json").read_bytes())
    check_schema(sbom_of_packages("limbeck", "1", ["numpy", "rich"]))


def test_equal_contents_give_equal_documents():
    one, two, other = (sbom_of_bundle("a", {"m": text}, {}) for text in (b"x", b"x", b"y"))
    assert one == two != other


def test_what_packages_need_is_listed_once(monkeypatch):
    content = sbom_of_packages("limbeck", "1", ["rich", "no-such-package"])
    components = by_name(content)
    assert {"rich", "pygments", "markdown-it-py", "mdurl"} <= set(components)
    assert "no-such-package" not in components
    dependencies = {d["ref"]: d["dependsOn"] for d in json.loads(content)["dependencies"]}
    assert dependencies["pkg:pypi/limbeck@1"] == [components["rich"]["purl"]]
    assert components["mdurl"]["purl"] in dependencies[components["markdown-it-py"]["purl"]]

"""Makes bytes of a random forest and a forest of bytes, without pickle, and only of types named here.

It refuses to know what the classes mean and where the bytes are kept.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from udfs.models.errors import UntrustedModel

TREE = "sklearn.tree._tree.Tree"  # skops leaves it to us: its node indexes need checking, see _check_tree
# All that a forest of ours consists of: (module, class, how skops builds it).
ALLOWED = frozenset(
    {
        ("sklearn.ensemble._forest", "RandomForestClassifier", "ObjectNode"),
        ("sklearn.tree._classes", "DecisionTreeClassifier", "ObjectNode"),
        ("sklearn.tree._tree", "Tree", "TreeNode"),
        ("builtins", "dict", "DictNode"),
        ("builtins", "list", "ListNode"),
        ("builtins", "tuple", "TupleNode"),
        ("builtins", "str", "JsonNode"),
        ("builtins", "str", "TypeNode"),
        ("numpy", "ndarray", "NdArrayNode"),
        ("numpy", "int64", "NdArrayNode"),
    }
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip entry can have


def dump_forest(forest: Any) -> bytes:
    """skops bytes of a fitted RandomForestClassifier, equal for equal forests.

    skops names its entries by memory address and stamps them with the clock; both are replaced here, and the
    unused bytes between a node's fields, which hold whatever the memory held, are cleared.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(forest))) as archive:
        schema = json.loads(archive.read("schema.json"))
        arrays = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    names = _renumber(schema)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for old, new in names.items():
            archive.writestr(_entry(new), _clean_array(arrays[old]))
        archive.writestr(_entry("schema.json"), json.dumps(schema))
    return out.getvalue()


def load_forest(model: bytes) -> Any:
    """The RandomForestClassifier in `model`. Nothing is imported or built before every type was checked.

    Raises UntrustedModel for a type outside ALLOWED, for anything but a forest, for trees whose nodes point
    outside themselves, and for bytes that are no skops archive.
    """
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            schema = json.loads(archive.read("schema.json"))
        found = {(node.get("__module__"), node["__class__"], node.get("__loader__")) for node in _nodes(schema)}
        strange = sorted(".".join(map(str, kind[:2])) for kind in found - ALLOWED)
        if strange:
            raise UntrustedModel(f"it holds {', '.join(strange)}")
        forest = skops.io.loads(model, trusted=[TREE])
    except UntrustedModel:
        raise
    except Exception as fault:  # zip, json and skops faults share no base class
        raise UntrustedModel(f"it is no readable skops archive ({type(fault).__name__}: {fault})") from fault
    if not isinstance(forest, RandomForestClassifier):
        raise UntrustedModel(f"it is a {type(forest).__name__}, not a forest")
    for estimator in forest.estimators_:
        _check_tree(estimator.tree_, forest.n_features_in_, len(forest.classes_))
    return forest


def _check_tree(tree: Any, features: int, classes: int) -> None:
    """Node indexes within bounds: scikit-learn follows them unchecked and would read foreign memory."""
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    here = np.arange(tree.node_count)
    leaf = left == -1
    inner_is_sound = (
        (left > here) & (right > here) & (left < tree.node_count) & (right < tree.node_count)
    )  # children come after their parent, so there is no way around in circles
    feature_is_sound = (feature >= 0) & (feature < features)
    sound = np.where(leaf, right == -1, inner_is_sound & feature_is_sound).all()
    if not sound or tree.n_features != features or tree.value.shape != (tree.node_count, 1, classes):
        raise UntrustedModel("a tree's nodes point outside the tree")


def _renumber(schema: dict[str, Any]) -> dict[str, str]:
    """Replaces memory addresses in `schema` by running numbers; old entry name -> new, in order of use.

    Plain values get a number each, because whether two equal ones share memory is chance.
    """
    numbers: dict[Any, int] = {}
    names: dict[str, str] = {}
    for place, node in enumerate(_nodes(schema)):
        address = place if node.get("__loader__") in ("JsonNode", "TypeNode") else ("shared", node["__id__"])
        node["__id__"] = numbers.setdefault(address, len(numbers))
        if "file" in node:
            node["file"] = names.setdefault(node["file"], f"{len(names)}.npy")
    return names


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every typed node of a skops schema, parents first."""
    if isinstance(value, dict):
        if "__class__" in value:
            yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)


def _clean_array(content: bytes) -> bytes:
    """The .npy bytes with the gaps of a structured array zeroed."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, dtype=array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    out = io.BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry

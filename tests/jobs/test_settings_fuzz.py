"""Whatever stands in a settings file or behind `--set`: valid settings, or a list of faults, and nothing else."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.runtime.errors import SettingsFault
from jobs.runtime.settings import Settings, load_settings

SECTIONS: Mapping[str, Any] = {
    name: list(field.annotation.model_fields) if hasattr(field.annotation, "model_fields") else []
    for name, field in Settings.model_fields.items()
}
NAMES = st.sampled_from([*SECTIONS, *(key for keys in SECTIONS.values() for key in keys)]) | st.text(max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.dates()
    | st.sampled_from(["offline", "openai", "embedded", "auto", "s3://b/x", "2001-99-99", "[", "1e999", "\0", "\ud800"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def sections(draw: st.DrawFn) -> dict[str, Any]:
    """Real sections with real keys, and values that fit by luck."""
    chosen = draw(st.lists(st.sampled_from(sorted(SECTIONS)), max_size=4, unique=True))
    found: dict[str, Any] = {}
    for name in chosen:
        keys = SECTIONS[name]
        known = st.dictionaries(st.sampled_from(keys), VALUES, max_size=3) if keys else VALUES
        found[name] = draw(known | VALUES)
    return found


def loaded(config: Path | None, overrides: list[str], root: str | None) -> Settings | None:
    try:
        return load_settings(str(config) if config else None, overrides, root)
    except SettingsFault as error:
        assert error.faults and all(fault.strip() for fault in error.faults)
        assert error.exit_status == 2
        return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sections() | VALUES, st.lists(st.text(alphabet=string.printable, max_size=30), max_size=3))
def test_any_structure(tmp_path: Path, values: Any, overrides: list[str]) -> None:
    config = tmp_path / "any.yaml"
    try:
        config.write_text(yaml.safe_dump(values), encoding="utf-8")
    except UnicodeEncodeError:
        return
    loaded(config, overrides, str(tmp_path))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    config = tmp_path / "any.yaml"
    config.write_bytes(content)
    loaded(config, [], str(tmp_path))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(SECTIONS)), NAMES, LEAVES | st.text(max_size=20)).map(
            lambda part: f"{part[0]}.{part[1]}={part[2]}"
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_overrides(overrides: list[str]) -> None:
    loaded(None, overrides, "root")


@pytest.mark.faults
def test_ten_thousand_unknown_keys_in_one_go() -> None:
    """Whatever stands beside it, each is named once, with its section."""
    held = {name: set(keys) for name, keys in SECTIONS.items() if keys}
    keys = st.text(alphabet=string.ascii_lowercase + string.digits + "_", min_size=1, max_size=12)
    asked = 0

    @settings(max_examples=2_600, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(sorted(held)), keys, LEAVES), min_size=4, max_size=8, unique_by=str))
    def load(parts: list[tuple[str, str, Any]]) -> None:
        nonlocal asked
        unknown = {(section, key) for section, key, _ in parts if key not in held[section]}
        asked += len(unknown)
        with pytest.raises(SettingsFault) as caught:
            load_settings(None, [f"{section}.{key}={json.dumps(str(value))}" for section, key, value in parts], "root")
        for section, key in unknown:
            told = [fault for fault in caught.value.faults if fault.startswith(f"{section}.{key}: unknown key")]
            assert len(told) == 1, (section, key, caught.value.faults)

    load()
    assert asked >= 10_000


@pytest.mark.parametrize(
    "text",
    [
        "a: 2001-99-99",
        "[" * 500,
        "&a [*a]",
        "seed: &s [*s]",
        "? {a: 1}\n: 2",
        "!!python/object:os.system {}",
        "\ufeff",
    ],
)
def test_yaml_that_is_odd(tmp_path: Path, text: str) -> None:
    config = tmp_path / "odd.yaml"
    config.write_text(text, encoding="utf-8")
    loaded(config, [f"seed={text}"], str(tmp_path))
    loaded(tmp_path, [], None)

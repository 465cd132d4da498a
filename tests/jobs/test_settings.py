"""Settings: every fault at once, overrides as YAML, nothing unknown accepted."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobs.runtime.errors import SettingsFault
from jobs.runtime.settings import Settings, load_settings

CONF = Path(__file__).resolve().parents[2] / "infra" / "conf"


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("targets: {singel: 3}\nwalks: {nodes: 40}\nnonsense: 1\n")
    with pytest.raises(SettingsFault) as caught:
        load_settings(str(config), ["seed=abc", "broken"], str(tmp_path))
    told = "\n".join(caught.value.faults)
    assert "targets.singel: unknown key; did you mean 'single'?" in told
    assert "walks.nodes" in told
    assert "nonsense: unknown key" in told
    assert "seed" in told
    assert "--set broken" in told
    assert len(caught.value.faults) == 5


def test_overrides_are_yaml_and_beat_the_file(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("targets: {single: 3}\n")
    overrides = ["targets.single=7", 'inputs.conversations=["a.parquet"]', "inputs.documents=[b.jsonl]"]
    settings = load_settings(str(config), overrides, str(tmp_path))
    assert settings.targets.single == 7
    assert settings.inputs.conversations == ("a.parquet",)
    assert settings.storage.root == str(tmp_path)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("inputs.documents=[x.jsonl]", "inputs.conversations: empty"),
        ("filter.max_pair_document_tokens=40000", "max_pair_document_tokens <= max_document_tokens"),
        ("walks.min_nodes=7", "walks.min_nodes"),
        ("minhash.bands=7", "minhash.bands: must divide minhash.permutations"),
        ("instructions.bands=20", "instructions.bands: must divide instructions.permutations"),
        ("llm.teacher=openai", "environment variable OPENAI_API_KEY is not set"),
        (
            "llm.stages={samples: {teacher: openai, api_key_env: NOT_THERE}}",
            "environment variable NOT_THERE is not set",
        ),
        ("llm={teacher: openai, api_key_env: '', model: mine, budget_usd: 5}", "the price of mine is not known"),
        ("llm.base_url='https://me:pa55word@host/v1'", "llm.base_url: has a user or a password"),
        (
            "inputs={conversations: [x], documents: ['ftp://bob:pa55word@host/d/*.jsonl']}",
            "inputs.documents: holds a password or a key, which would be stored with every record",
        ),
        (
            "inputs={conversations: ['zip://a.jsonl::sftp://bob:pa55word@host/x.zip'], documents: [x]}",
            "inputs.conversations: holds a password",
        ),
        (
            "inputs={conversations: [x], documents: ['https://host/d.parquet?sig=pa55word']}",
            "inputs.documents: holds a password",
        ),
        ("storage.state_path='s3://key:pa55word@bucket/state'", "storage.state_path: holds a password"),
        ("llm.query={api-version: '1', api-key: pa55word}", "llm.query.api-key: would be stored with the settings"),
        ("llm.stages={samples: {extra_body: {token: pa55word}}}", "llm.extra_body.token: would be stored"),
        ("llm.base_url='https://host/v1?api_key=pa55word'", "llm.base_url: has a query"),
        ("llm.base_url='https://me:pa55word@[host/v1'", "llm.base_url: has a user or a password"),
        ("llm.query={subscription-key: pa55word}", "llm.query.subscription-key: would be stored"),
        ("llm.query={sig: pa55word}", "llm.query.sig: would be stored"),
        ("llm.query={sharedaccesskey: pa55word}", "llm.query.sharedaccesskey: would be stored"),
        ("llm.extra_body={userpassword: pa55word}", "llm.extra_body.userpassword: would be stored"),
        ("lineage.tracking_uri='postgresql://db/mlflow?sslpassword=pa55word'", "lineage.tracking_uri: holds"),
        ("llm.stages={samples: {modle: x, base_url: 'https://me:p@pa55word@h'}}", "'https://…@h'"),
        ("llm.query={accessToken: pa55word}", "llm.query.accessToken: would be stored"),
        ("llm.extra_body={x-api-key: pa55word}", "llm.key_header"),
        ("llm.extra_body={api_key: {value: pa55word}}", "llm.extra_body.api_key.value: would be stored"),
        (
            "llm.extra_body={tools: [{server: {access_token: pa55word}}]}",
            "llm.extra_body.tools.server.access_token: would",
        ),
        ("llm.query={x-api-key: [pa55word]}", "a value that is not shown"),
        ("llm.query={sig: pa55word, n: 1}", "llm.query.n: Input should be a valid string (found 1)"),
        ("llm.stages={samples: {modle: x, extra_body: {sig: pa55word}}}", "'extra_body': {'sig': '…'}"),
        ("llm={api_key_env: sk-pa55word, stages: {samples: {modle: x}}}", "'api_key_env': '…'"),
        (
            "llm={base_url: 'https://pa55word@h/v1?sig=pa55word', stages: {samples: {modle: x}}}",
            "'https://…@h/v1?sig=…'",
        ),
        ("lineage.tracking_uri=postgresql://me:pa55word@db/mlflow", "lineage.tracking_uri: holds a password or a key"),
        ("lineage.tracking_uri=postgresql://me:pa55/word@db/mlflow", "MLFLOW_TRACKING_USERNAME"),
        ("lineage.tracking_uri=mysql://db/mlflow?user=me&password=pa55word", "PGPASSWORD"),
        (
            "lineage.tracking_uri='mssql+pyodbc:///?odbc_connect=PWD%3Dpa55word'",
            "lineage.tracking_uri: holds",
        ),
        ("lineage.tracking_uri=https://pa55word@host", "MLFLOW_TRACKING_TOKEN"),
        ("lineage.artifact_location='https://me.blob/c?sv=1&sig=pa55word'", "lineage.artifact_location: holds"),
        ("llm={teacher: openai, api_key_env: sk-pa55word}", "not shown: it does not look like a name"),
        ("llm.api_key_env=sk-pa55word", "not shown: it does not look like a name"),
        ("llm.stages={samples: {api_key_env: sk-pa55word}}", "not shown: it does not look like a name"),
        ("llm.stages={samples: {budget_usd: 1}}", "budget_usd can only be set for the whole run"),
        ("llm.stages={samples: {modle: x}}", "stages.samples: modle"),
        ("llm.stages={samples: {requests_per_minute: 60}}", "they share one limit"),
        (
            "llm.stages={samples: {model: x, rate_window_s: 5}, meta_records: {model: x}}",
            "in stages.samples, for one model at one endpoint",
        ),
    ],
)
def test_faults_between_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str, told: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsFault, match=re.escape(told)) as caught:
        load_settings(None, [override], str(tmp_path))
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "llm.query={api-version: '2024-10-21', max_tokens: '5'}",
        "llm.extra_body={prompt_cache_key: mine, max_completion_tokens: 99, max_tokens: 9, eos_token: '</s>'}",
        "llm.extra_body={min_token: 3, service_tier: flex, language_code: de, skip_special_tokens: true}",
        "llm.extra_body={chat_template_kwargs: {enable_thinking: false}, stop: [END], top_k: null}",
        "lineage.tracking_uri=databricks://scope:prefix",
        "lineage.tracking_uri=http://mlflow:5000/path@2",
        "lineage.tracking_uri=postgresql://me@db:5432/mlflow?sslmode=require&sslkey=/etc/mine.pem",
        "lineage.tracking_uri=mysql+pymysql://me@db/mlflow?ssl_ca=/etc/ca.pem&ssl_key=/etc/mine.pem",
        "lineage.artifact_location=abfss://container@account.dfs.core.windows.net/mlflow",
        "lineage.artifact_location=s3://bucket/mlflow",
    ],
)
def test_names_and_addresses_without_secrets_are_taken(tmp_path: Path, override: str) -> None:
    assert isinstance(load_settings(None, [override], str(tmp_path)), Settings)


@pytest.mark.parametrize(
    "address",
    ["abfss://part@account.dfs.core.windows.net/d/*.jsonl", "hdfs://name:8020/user/bob@corp/d", "/data/bob:x@y/p?key=1",
     "hf://datasets/a/b@main/d.parquet", "https://host/d.parquet?download=true", "s3://bucket/a:b@c.jsonl"],
)  # fmt: skip
def test_addresses_of_inputs_without_secrets_are_taken(tmp_path: Path, address: str) -> None:
    given = f"inputs={{conversations: [x], documents: ['{address}']}}"
    assert load_settings(None, [given], str(tmp_path)).inputs.documents == (address,)


def test_jobs_that_ask_nobody_want_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert load_settings(None, ["llm.teacher=openai"], str(tmp_path), calls=False).llm.teacher == "openai"
    with pytest.raises(SettingsFault, match="does not look like a name"):
        load_settings(None, ["llm.api_key_env=sk-pa55word"], str(tmp_path), calls=False)


def test_a_store_without_a_client_and_one_that_fails_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    with pytest.raises(SettingsFault, match=r"--config s3://bucket/c.yaml: .* install s3fs for the driver and every"):
        load_settings("s3://bucket/c.yaml", [], "r")
    with pytest.raises(SettingsFault, match=r"--config nosuch://c.yaml: .*Protocol not known: nosuch"):
        load_settings("nosuch://c.yaml", [], "r")

    def refuse(*given: object, **named: object) -> None:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(MemoryFileSystem, "open", refuse)
    with pytest.raises(SettingsFault, match="cannot be read \\(RuntimeError: Unable to locate credentials"):
        load_settings("memory://c.yaml", [], "r")


def test_missing_root_and_config_are_named() -> None:
    with pytest.raises(SettingsFault) as caught:
        load_settings("nowhere.yaml", [], None)
    assert any("nowhere.yaml" in fault for fault in caught.value.faults)
    assert any("storage.root" in fault for fault in caught.value.faults)


@pytest.mark.parametrize("name", sorted(path.name for path in CONF.glob("*.yaml")))
def test_shipped_settings_are_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("DATABRICKS_TOKEN", "x")
    assert isinstance(load_settings(str(CONF / name), [], str(tmp_path)), Settings)


@pytest.mark.parametrize(
    ("llm", "fault"),
    [
        ("llm={teacher: openai, api_key_env: '', temperature: 0}", True),
        ("llm={teacher: openai_batch, api_key_env: '', extra_body: {temperature: 0.0}}", True),
        ("llm={teacher: openai, api_key_env: '', stages: {samples: {temperature: 0}}}", True),
        ("llm={teacher: openai, api_key_env: '', temperature: 0, stages: {samples: {temperature: 0.5}}}", False),
        ("llm={temperature: 0}", False),  # the offline teacher knows no temperature, and costs nothing
    ],
)
def test_second_draws_are_refused_where_they_would_repeat_the_first(tmp_path: Path, llm: str, fault: bool) -> None:
    assert not load_settings(None, [llm], str(tmp_path)).evidence.second_draw
    if not fault:
        assert load_settings(None, [llm, "evidence.second_draw=true"], str(tmp_path)).evidence.second_draw
        return
    with pytest.raises(SettingsFault, match=r"would be the first one again; raise llm\.temp") as told:
        load_settings(None, [llm, "evidence.second_draw=true"], str(tmp_path))
    assert told.value.exit_status == 2 and len(told.value.faults) == 1


def test_folders_of_the_root_are_absolute_however_they_are_given(tmp_path: Path) -> None:
    """Executors have working folders of their own."""
    file = tmp_path / "settings.yaml"
    file.write_text("storage: {root: data/longloom, state_path: state}", encoding="utf-8")
    storage = load_settings(str(file), [], None).storage
    assert (storage.root, storage.state_path) == (str(Path("data/longloom").absolute()), str(Path("state").absolute()))
    assert load_settings(str(file), ["storage.root=s3://bucket/x"], None).storage.root == "s3://bucket/x"
    assert load_settings(str(file), [], "elsewhere").storage.root == str(Path("elsewhere").absolute())


def test_an_input_with_a_password_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    given = "inputs={conversations: [x], documents: ['ftp://bob:pa55word@host/d.jsonl']}"
    looked = list[object]()
    with pytest.raises(SettingsFault) as caught:
        load_settings(None, [given, "seed=-1"], str(tmp_path), looked.append)
    assert looked == [] and "pa55word" not in str(caught.value)
    assert str(caught.value).count("inputs.documents: holds a password") == 1 and "seed" in str(caught.value)

"""What deploy/ says of the worker is true of the worker: its settings, its commands; and its containers are closed.

Alerts and runbooks: test_alerts.py; dashboards: test_dashboards.py. Whether the files are right by their own rules is for the
tools that read them: `make lint-deploy`.
"""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.testing import CliRunner

from worker.cli import app
from worker.settings import Settings

TOP: Final = Path(__file__).parents[2]
DEPLOY: Final = TOP / "deploy"
COMPOSE: Final = yaml.safe_load((TOP / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
CONSOLE: Final = yaml.safe_load((DEPLOY / "runbooks/console.yaml").read_text(encoding="utf-8"))
PROMETHEUS: Final = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))


def test_every_setting_that_is_named_exists() -> None:
    settings = {f"SCREENER_{name.upper()}" for name in Settings.model_fields}
    text = {".md", ".yml", ".yaml", ".json", ".py", ".sh", ".tpl", ""}
    files = [
        path
        for path in DEPLOY.rglob("*")
        # What the chart has to refuse names a setting that is none.
        if path.is_file() and path.suffix in text and not {"node_modules", "refused"} & set(path.parts)
    ]
    files.append(TOP / "docker-compose.yml")
    named = {
        (path.name, name) for path in files for name in re.findall(r"SCREENER_[A-Z_]+[A-Z]", path.read_text("utf-8"))
    }
    assert {(file, name) for file, name in named if name not in settings} == set()
    assert ("docker-compose.yml", "SCREENER_KAFKA_BOOTSTRAP_SERVERS") in named


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_publishes_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert SERVICES[name].get("network_mode") is None


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "devices"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_and_can_be_scaled(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:(local|v?\d+\.\d+\.\d+)", SERVICES[name]["image"])
    assert "container_name" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_checked_where_it_stays_and_only_there(name: str) -> None:
    service = SERVICES[name]
    stays = service.get("restart") == "unless-stopped"
    assert stays == (name not in {"topics", "load"})
    assert service["healthcheck"].get("disable", False) is not stays
    assert ("test" in service["healthcheck"]) is stays


def test_the_worker_waits_for_kafka_and_topics_and_has_time_to_finish() -> None:
    worker = SERVICES["worker"]
    assert "ports" not in worker
    assert worker["read_only"] is True
    assert worker["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert SERVICES["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    grace = int(worker["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["shutdown_timeout_s"].default


@pytest.mark.parametrize(
    "command",
    [
        *(pytest.param(SERVICES[name]["command"], id=name) for name in ("topics", "worker", "load")),
        pytest.param(SERVICES["worker"]["healthcheck"]["test"][2:], id="health"),
    ],
)
def test_what_a_container_runs_is_a_command_with_these_options(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output


def test_kafka_makes_no_topics_by_itself() -> None:
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_prometheus_finds_the_workers_and_grafana_finds_prometheus() -> None:
    [job] = [job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "comment-screener"]
    [discovery] = job["dns_sd_configs"]
    assert set(discovery["names"]) <= SERVICES.keys()
    assert discovery["port"] == Settings.model_fields["http_port"].default
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/dashboards.yml").read_text("utf-8"))[
        "providers"
    ]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (TOP / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_configurations_are_checked_with_the_version_that_will_read_them(name: str) -> None:
    script = (DEPLOY / "tools.sh").read_text(encoding="utf-8")
    match = re.search(rf"^readonly {name.upper()}=(\S+)", script, re.MULTILINE)
    assert match is not None
    assert SERVICES[name]["image"] == f"prom/{name}:v{match[1]}"


def test_the_image_copies_what_the_ignore_file_lets_through() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    lines = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


def test_the_image_has_what_compiles_what_has_no_wheel() -> None:
    """On ARM faust-streaming is compiled, against zlib; without the headers it would install itself half and say nothing."""
    installed = re.search(r"apt-get install [^\\&]*", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))

    assert installed is not None
    assert {"gcc", "libc6-dev", "zlib1g-dev"} <= set(installed[0].split())


@pytest.mark.parametrize(("ended", "said"), [("true", ""), ("false", "faust-streaming is without its compiled half: ")])
def test_a_build_without_fausts_compiled_half_says_what_is_wrong(ended: str, said: str) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    check = re.search(r"&& (\{ /opt/venv/bin/python .*\n.*; \})$", dockerfile, re.MULTILINE)

    assert check is not None
    assert "_CStreamIterator is None" in check[1]
    command = check[1].replace("/opt/venv/bin/python", ended)
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (1 if said else 0, "")
    assert ran.stderr.startswith(said) if said else ran.stderr == ""


def builds(page: str) -> set[str]:
    """Every command that builds an image, on one line and without what a shell does not see."""
    lines = re.sub(r"\\\n#? *", "", page)
    return {
        " ".join(line.partition(" # ")[0].split())
        for line in re.findall(r"^(?:#| ) +(docker build .*)$", lines, re.MULTILINE)
    }


def test_the_image_is_built_as_the_pages_say() -> None:
    header = builds((DEPLOY / "Dockerfile").read_text(encoding="utf-8"))

    assert header == builds((DEPLOY / "README.md").read_text(encoding="utf-8"))
    assert any(f"--tag {CONSOLE['spec']['containers'][0]['image']} " in build for build in header)


def test_the_console_has_its_own_credentials_and_nothing_else() -> None:
    spec = CONSOLE["spec"]
    [console] = spec["containers"]
    page = (DEPLOY / "runbooks/README.md").read_text(encoding="utf-8")
    user = re.search(r"^USER (\d+):", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    assert user is not None
    assert spec["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": int(user[1])}.items()
    assert spec["automountServiceAccountToken"] is False
    assert console["securityContext"]["readOnlyRootFilesystem"] is True
    assert console["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "env" not in console
    # What the page makes is what the pod takes.
    [settings], [files] = console["envFrom"], [each["secret"] for each in spec["volumes"] if "secret" in each]
    assert f"create secret generic {settings['secretRef']['name']} --from-env-file=" in page
    assert f"create secret generic {files['secretName']} --from-file=" in page
    assert files["optional"] is True
    assert f"exec {CONSOLE['metadata']['name']} -- comment-screener" in page
    assert f"`{next(each['mountPath'] for each in console['volumeMounts'] if each['name'] == 'files')}`" in page
    # It waits, and not for ever.
    assert console["command"] == ["sleep", "infinity"]
    assert spec["activeDeadlineSeconds"] == 8 * 3600
    assert spec["restartPolicy"] == "Never"


def test_the_image_is_not_root_and_calls_nobody() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER (\d+):\1$", dockerfile, re.MULTILINE)
    assert "HF_HUB_OFFLINE=1" in dockerfile
    assert "ORT_DISABLE_TELEMETRY=1" in dockerfile
    assert "--require-hashes --requirement requirements.lock" in dockerfile

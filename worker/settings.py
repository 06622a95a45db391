"""Every setting, documented where it is declared. Each is an environment variable with the prefix `SCREENER_`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import StartupError
from worker.records import Mode

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """How one worker runs. Only the broker's address has no default."""

    model_config = SettingsConfigDict(env_prefix="SCREENER_", extra="ignore", frozen=True, hide_input_in_errors=True)

    kafka_bootstrap_servers: str = Field(min_length=1, description="Kafka brokers, `host:port`, several with commas.")
    comments_topic: str = Field("comments", description="Topic that comments are read from.")
    decisions_topic: str = Field("moderation.decisions", description="Topic that decisions are written to.")
    dead_letters_topic: str = Field(
        "moderation.dead-letters", description="Topic for records that cannot be screened, byte for byte."
    )
    comments_partitions: Count | None = Field(
        None, description="Refuse to start unless the comments topic has this many partitions. Unset: any number."
    )
    group_id: str = Field("comment-screener", description="Consumer group. Workers of one group share the partitions.")
    group_instance_id: str | None = Field(
        None, description="Static membership: a stable name per worker, so that a quick restart moves no partition."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, where the protocol has SASL."
    )
    sasl_username: str | None = Field(None, description="SASL user.")
    sasl_password: SecretStr | None = Field(None, description="SASL password. Never logged.")
    sasl_password_file: Path | None = Field(
        None, description="File with the SASL password, read at start, instead of `SCREENER_SASL_PASSWORD`."
    )
    sasl_oauth_token_file: Path | None = Field(
        None,
        description="File with the token for `OAUTHBEARER`, read anew for each connection. Replace it before it expires.",
    )
    ssl_ca_file: Path | None = Field(None, description="CA certificates (PEM) to trust instead of the system's.")
    ssl_cert_file: Path | None = Field(None, description="Client certificate (PEM), for mutual TLS.")
    ssl_key_file: Path | None = Field(None, description="Key of the client certificate (PEM).")
    session_timeout_s: Seconds = Field(
        10.0, description="After this long without a heartbeat the group gives the worker's partitions to others."
    )
    rebalance_timeout_s: Seconds = Field(
        60.0, description="How long a rebalance waits for this worker to finish its work."
    )
    commit_interval_s: Seconds = Field(0.5, description="How often finished offsets are committed.")
    delivery: Literal["at_least_once", "transactions"] = Field(
        "at_least_once",
        description="`transactions`: outcomes and offsets in one, so that who reads `read_committed` sees each outcome once.",
    )
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        "zstd", description="Compression of what is published."
    )

    model: str = Field(
        "default",
        description="`default`, shipped with the worker; a folder with `model.onnx` or a checkpoint; or "
        "`org/name@revision` on a hub.",
    )
    label_map: Path | None = Field(
        None,
        description="JSON file: the model's own label names to ours. Default: `labels.json` in the model's folder.",
    )
    policy: str = Field(
        "default",
        description="A policy shipped with the worker (`default`, `strict-for-children`, `lenient-forum`), or a file.",
    )
    policy_reload_s: Annotated[float, Field(ge=0)] = Field(
        10.0,
        description="How often to look at a policy's file, and adopt a changed one that is right, without a restart. 0: never.",
    )
    mode: Mode = Field(Mode.LIVE, description="What decisions are marked as: `live`, `shadow` or `replay`.")

    inference_threads: Annotated[int, Field(ge=0)] = Field(
        0, description="Runs of the model at once, on a thread each. 0: one per CPU that the worker may use."
    )
    max_batch_tokens: Count | None = Field(
        None, description="Padded tokens in one run of the model at most. Unset: 256 on a CPU, 16384 on a GPU."
    )
    max_window: Count = Field(256, description="Comments that are sorted by length and screened together at most.")
    batch_wait_ms: Annotated[float, Field(ge=0)] = Field(
        3.0, description="How long an idle worker waits, from the first comment, for others to share its batch."
    )
    max_in_flight: Count = Field(2048, description="Records read and unfinished at most; bounds memory and rebalances.")
    max_in_flight_bytes: Count = Field(
        32 * 2**20, description="Bytes of them at most. As many again may have been read ahead of them."
    )
    shed_lag_s: Seconds | None = Field(
        None,
        description="Overload: hold comments older than this for a person, unscored (`degraded`). Unset: every one is scored.",
    )
    cache_entries: Annotated[int, Field(ge=0)] = Field(
        100_000, description="Texts whose scores are remembered. 0: none."
    )

    publish_timeout_s: Seconds = Field(
        180.0, description="How long to go on trying to publish before the process ends, with nothing committed."
    )
    shutdown_timeout_s: Seconds = Field(
        25.0, description="On SIGTERM: how long to finish what was read. Shorter than the orchestrator's grace period."
    )
    startup_timeout_s: Seconds = Field(30.0, description="How long to wait for the brokers at start.")
    watchdog_timeout_s: Seconds = Field(
        120.0, description="With work waiting and none finished for this long, the worker prints its stacks and exits."
    )
    dead_letters_in_a_row: Count = Field(100, description="Stop after this many dead letters in a row.")
    dead_letters_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5,
        description="Stop when more than this share of the last `SCREENER_DEAD_LETTERS_WINDOW` records are dead letters.",
    )
    dead_letters_window: Count = Field(1000, description="Records over which that share is taken.")

    http_host: str = Field("127.0.0.1", description="Address for /metrics, /livez and /readyz. Loopback unless set.")
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(9464, description="Port for the same; 0 takes a free one.")
    tracing: bool = Field(
        False,
        description="1: send traces of comments whose producer traces, where OpenTelemetry's variables say. Extra: `tracing`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("decisions_topic", "dead_letters_topic")
    @classmethod
    def _of_its_own(cls, topic: str, others: ValidationInfo) -> str:
        # What is written to the comments would be read as one; dead letters among them, for ever.
        taken = [name for name in ("comments_topic", "decisions_topic") if others.data.get(name) == topic]
        if taken:
            raise PydanticCustomError("same_topic", f"not the same topic as SCREENER_{taken[0].upper()}")
        return topic

    @field_validator("sasl_password_file")
    @classmethod
    def _one_password(cls, file: Path | None, others: ValidationInfo) -> Path | None:
        if file is not None and others.data.get("sasl_password") is not None:
            raise PydanticCustomError("one_password", "not beside SCREENER_SASL_PASSWORD: one of the two")
        return file


def load_settings(**given: Any) -> Settings:
    """Read the environment, but for what is given.

    Raises:
        StartupError: one line for each setting that is missing or wrong, without its value.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"SCREENER_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise StartupError("\n".join(lines)) from None

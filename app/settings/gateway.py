"""Everything the environment decides, read here and nowhere else."""

from __future__ import annotations

from decimal import Decimal
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from re import fullmatch
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import from_json
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.contract.completion import BackendName
from app.contract.fingerprint import fingerprint
from app.contract.hardware import Profile
from app.errors import InvalidSettings
from app.settings.secret_files import SecretFiles

PREFIX = "CONVICTION_"
OTLP = "http/protobuf"
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Concurrency = Annotated[int, Field(gt=0)]
PerMinute = Annotated[int, Field(gt=0, le=10**8)]
UsdPerDay = Annotated[Decimal, Field(ge=0, le=10**6, allow_inf_nan=False)]


def _decoded(given: Any) -> Any:
    """JSON of a document, for a field that has a document's type."""
    return from_json(given) if isinstance(given, str) else given


class _Environment(BaseSettings):
    """Reads CONVICTION_<NAME>, or the name a field gives itself; an empty variable counts as unset.

    A secret may stand in a file, which the variable with _FILE at its end names.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, validate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


class ModelSettings(_Environment):
    """Which published model is served."""

    model_store: Path = Field(default_factory=lambda: _model_store())
    """By default the working directory's, or else the one beside the package."""
    allow_foreign_model: bool = False
    """Serve a model whose contract fingerprint is not this gateway's."""


class Settings(ModelSettings):
    """The gateway's settings."""

    vllm_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """OpenAI-style base URLs of the vLLM servers that share the load, comma separated; none: no mistral."""
    vllm_profile: Annotated[Profile | None, NoDecode, BeforeValidator(_decoded)] = None
    """JSON: how the vLLM servers run the model (`app.contract.hardware.Profile`), which answers report. `conviction up`
    sets it; None: it is not known."""
    sagemaker_endpoint: Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")] | None = None
    """A SageMaker endpoint in their place, and the id that its vLLM serves the model under, which no list tells."""
    sagemaker_model: Annotated[str, Field(min_length=1)] | None = None
    aws_region: str = Field(default="", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    openai_base_url: str | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    gpt4_model: Annotated[str, Field(min_length=1)] = "gpt-4.1"
    redis_password: SecretStr | None = Field(default=None, validation_alias="REDIS_PASSWORD")
    """For a URL that holds none."""
    redis_url: SecretStr | None = Field(default=None, validation_alias="REDIS_URL")
    """None: an embedded server that lives and dies with the gateway. Secret, since it holds the password."""
    allow_open_store: bool = False
    """Use a store on a public address that asks for no password."""
    allow_root: bool = True
    """Serve as root; the image says no."""
    store_dir: Path | None = None
    """Where the embedded server keeps what it holds, for one gateway at a time; None: nothing is kept."""
    market: Literal["yfinance", "parquet", "sample"] = "yfinance"
    market_dir: Path | None = None
    market_options: Literal["provider", "simulated", "none"] = "provider"
    market_fallback: Literal["sample"] | None = None
    """The market served in yfinance's place where that cannot be reached at the start."""
    market_fresh_s: Seconds = 60.0
    """A ticker's metrics are fetched anew once they are older."""
    market_stale_s: Seconds = 86400.0
    """While the source cannot be asked, older metrics than that are not used, and younger ones are marked stale."""
    api_keys_file: Path | None = None
    key_requests_per_minute: PerMinute | None = None
    """What a key may do that has no limit of its own; None: no limit."""
    key_tokens_per_minute: PerMinute | None = None
    key_usd_per_day: UsdPerDay | None = None
    mistral_requests_per_minute: PerMinute | None = None
    """What all keys together may ask of a backend; None: no limit."""
    mistral_tokens_per_minute: PerMinute | None = None
    mistral_usd_per_day: UsdPerDay | None = None
    gpt4_requests_per_minute: PerMinute | None = None
    gpt4_tokens_per_minute: PerMinute | None = None
    gpt4_usd_per_day: UsdPerDay | None = None
    mistral_max_concurrency: Concurrency = 64
    """Calls that a backend is asked at a time, all its servers together, and calls that may wait for their turn."""
    mistral_queue_size: Annotated[int, Field(ge=0)] = 256
    gpt4_max_concurrency: Concurrency = 64
    gpt4_queue_size: Annotated[int, Field(ge=0)] = 256
    batch_max_concurrency: Concurrency = 16
    """Items of a batch that are answered at a time."""
    cache_s: Seconds = 3600.0
    """For so long an answer is given again to whoever asks the same; 0: never."""
    comparisons_kept: Annotated[int, Field(gt=0, le=10**7)] = 100_000
    """The latest pairs of answers of both backends that are stored; 144 bytes each, no texts."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    drain_s: Seconds = 3.0
    """From SIGTERM on the gateway is not ready, and goes on accepting for so long: load balancers turn away."""
    default_backend: BackendName = "mistral"
    cascade_threshold: Annotated[float, Field(ge=0, le=1)] = 0.9
    """A cascade passes an answer on whose probability is below: 0 none, 1 nearly all. See the training report."""
    experiments_file: Path | None = None
    """JSON, read again when it changes; None: no experiment."""
    shadow_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of the answers that a backend has made, so many are also asked of the other, to be compared."""
    shadow_usd_per_day: UsdPerDay = Decimal(1)
    """What those copies may cost, whatever their backends' limits allow."""
    backend_timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    first_token_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """A server that has said nothing by then is given up, or another asked in its place."""
    otel_sdk_disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    """This and what follows tell whether requests are traced; all else OpenTelemetry's SDK reads itself."""
    otel_traces_exporter: Literal["otlp", "none"] | None = Field(default=None, validation_alias="OTEL_TRACES_EXPORTER")
    otel_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT", repr=False)
    otel_traces_endpoint: str | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", repr=False
    )
    otel_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    otel_traces_protocol: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    hosting_usd_per_hour: Money | None = None
    """What a replica of the hosted model costs; None: as the model's manifest says."""
    hosting_replicas: Annotated[int, Field(gt=0)] | None = None
    """Servers that are paid for, where one address stands for several; None: one an address."""
    capacity_tokens_per_hour: Annotated[int, Field(gt=0)] | None = None
    """Tokens a replica makes at measured capacity; None: as the model's manifest says."""

    @field_validator("vllm_urls", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        return tuple(url.strip().rstrip("/") for url in given.split(",") if url.strip())

    @field_validator("vllm_urls")
    @classmethod
    def _each_a_url(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            _require_url(url)
        return urls

    @field_validator("openai_base_url")
    @classmethod
    def _a_url(cls, url: str | None) -> str | None:
        return None if url is None else _require_url(url)

    @field_validator("openai_api_key")
    @classmethod
    def _a_key(cls, key: SecretStr | None) -> SecretStr | None:
        """Without the line's end of the file it was read from; nothing else of that kind could be in a header."""
        trimmed = key.get_secret_value().strip() if key else ""
        if not (trimmed.isascii() and trimmed.isprintable()):
            raise ValueError("holds a character that no key has")
        return SecretStr(trimmed) if key else None

    @field_validator("redis_url")
    @classmethod
    def _a_store(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """With the password in it that was given beside it."""
        if url is None:
            return None
        scheme, separator, rest = url.get_secret_value().partition("://")
        if not separator or scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must start with redis://, rediss:// or unix://")
        password = info.data.get("redis_password")
        if password is None:
            return url
        user, _, place = rest.rpartition("@")
        if ":" in user:
            raise ValueError("holds a password, and so does REDIS_PASSWORD; unset one of them")
        return SecretStr(f"{scheme}://{user}:{quote(password.get_secret_value(), safe='')}@{place}")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.market == "parquet" and not (self.market_dir and any(self.market_dir.glob("ohlcv*.parquet"))):
            raise ValueError("CONVICTION_MARKET_DIR: the parquet market needs a folder with ohlcv*.parquet in it")
        if self.api_keys_file is None and not is_loopback(self.host):
            raise ValueError(
                "CONVICTION_API_KEYS_FILE: keys are needed to listen on an address that is not loopback "
                "(CONVICTION_HOST)"
            )
        if self.traces and (self.otel_traces_protocol or self.otel_protocol or OTLP) != OTLP:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: must be {OTLP} (OTEL_TRACES_EXPORTER=none: no traces)")
        endpoint = self.otel_traces_endpoint or self.otel_endpoint
        if self.traces and endpoint and not endpoint.startswith(("http://", "https://")):
            raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT: must start with http:// or https://")
        return self

    @model_validator(mode="after")
    def _sagemaker_can_be_asked(self) -> Self:
        if self.sagemaker_endpoint is None:
            return self
        if self.vllm_urls:
            raise ValueError(
                "CONVICTION_SAGEMAKER_ENDPOINT: stands in the place of CONVICTION_VLLM_URLS, not beside it"
            )
        if not fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d+", self.aws_region):
            raise ValueError("AWS_REGION: a region is needed to ask CONVICTION_SAGEMAKER_ENDPOINT, as eu-central-1")
        if not self.sagemaker_model:
            raise ValueError("CONVICTION_SAGEMAKER_MODEL: needed, the id that the endpoint serves its model under")
        if not (self.allow_foreign_model or self.sagemaker_model.endswith(f"-{fingerprint()}")):
            raise ValueError(
                "CONVICTION_SAGEMAKER_MODEL: was not made for this gateway's contract, whose fingerprint "
                f"{fingerprint()} would end its id; CONVICTION_ALLOW_FOREIGN_MODEL=1 takes any"
            )
        if find_spec("botocore") is None:
            raise ValueError(
                "CONVICTION_SAGEMAKER_ENDPOINT: needs botocore, which pip install 'conviction[sagemaker]' brings"
            )
        return self

    @property
    def hosted_servers(self) -> int:
        """Servers of the hosted model that are paid for; none: it is not set up."""
        addresses = len(self.vllm_urls) or int(self.sagemaker_endpoint is not None)
        return (self.hosting_replicas or addresses) if addresses else 0

    @property
    def traces(self) -> bool:
        """Whether requests are traced."""
        if self.otel_sdk_disabled or self.otel_traces_exporter == "none":
            return False
        return bool(self.otel_traces_exporter or self.otel_endpoint or self.otel_traces_endpoint)


class UpSettings(_Environment):
    """What `conviction up` needs to know beside the gateway's settings."""

    models: Path = Path(".models")
    """Where weights rebuilt on this machine lie."""
    run_dir: Path = Path(".run")
    """Where logs, what vLLM compiles and, where no other place is named, the store of `conviction up` are kept."""
    vllm_python: Path = Path(".envs/vllm/bin/python")
    """The interpreter of the environment that vLLM is installed in."""
    vllm_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Of 127.0.0.1; 0: any that is free."""
    vllm_cache_gib: Annotated[int, Field(gt=0)] = 1
    """Memory for attention's keys and values: enough for a thousand tokens of the default model in 25 MB."""


class ClientSettings(_Environment):
    """What the command-line client needs to know."""

    url: str = "http://127.0.0.1:8080"
    api_key: SecretStr | None = None

    @field_validator("url")
    @classmethod
    def _a_url(cls, url: str) -> str:
        return _require_url(url)


def _model_store() -> Path:
    here, beside = Path("model_store"), Path(__file__).parents[2] / "model_store"
    return here if here.is_dir() or not beside.is_dir() else beside


def load_settings() -> Settings:
    """The gateway's settings; `InvalidSettings` names every variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise _invalid(Settings, error) from None


def load_model_settings() -> ModelSettings:
    """Which model is served; `InvalidSettings` names every variable that is wrong."""
    try:
        return ModelSettings()
    except ValidationError as error:
        raise _invalid(ModelSettings, error) from None


def load_up_settings() -> UpSettings:
    """The supervisor's settings; `InvalidSettings` names every variable that is wrong."""
    try:
        return UpSettings()
    except ValidationError as error:
        raise _invalid(UpSettings, error) from None


def load_client_settings() -> ClientSettings:
    """The client's settings; `InvalidSettings` names every variable that is wrong."""
    try:
        return ClientSettings()
    except ValidationError as error:
        raise _invalid(ClientSettings, error) from None


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a URL, as curl would; none on the way to this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return None if is_loopback(host) or proxy_bypass(host) else getproxies().get(parts.scheme)


def _require_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return url.rstrip("/")


def _invalid(settings: type[BaseSettings], error: ValidationError) -> InvalidSettings:
    """One line, without the values: they may be secret."""
    wrong = []
    for problem in error.errors(include_url=False, include_input=False):
        variable = f"{_variable(settings, str(problem['loc'][0]))}: " if problem["loc"] else ""
        wrong.append(variable + problem["msg"].removeprefix("Value error, "))
    return InvalidSettings("; ".join(wrong))


def _variable(settings: type[BaseSettings], name: str) -> str:
    """The environment variable behind a field; pydantic names the field by its alias where it has one."""
    return PREFIX + name.upper() if name in settings.model_fields else name

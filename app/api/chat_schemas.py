"""The schema of POST /v1/chat/completions: the parameters that the gateway knows the price and the load of.

Files, audio, predicted outputs, web searches, other service tiers and the servers' own grammars are not among them: the
first have prices that cannot be bounded in advance, and the last can occupy a server for minutes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

MAX_TOKENS = 1_000_000
MAX_CHOICES = 8

Limit = Annotated[int, Field(gt=0, le=MAX_TOKENS)]
Label = Annotated[str, Field(max_length=512)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


def _form(value: object) -> str:
    """Return the tag of a text or of its other form, which no error message shows."""
    return "<text>" if isinstance(value, str) else "<form>"


class Strict(BaseModel):
    """A part of the request without other fields and without conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextPart(Strict):
    type: Literal["text"]
    text: str


class RefusalPart(Strict):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Strict):
    url: Annotated[str, Field(pattern="^(https?://|data:image/)")]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart | RefusalPart, Field(discriminator="type")]
PARTS: dict[str, Any] = {
    "type": "array",
    "maxItems": 256,
    "items": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": ["text", "image_url", "refusal"]}},
    },
}
"""How the parts are documented: the gateway reads no address in them."""
Parts = Annotated[list[Part], Field(fail_fast=True, max_length=256), WithJsonSchema(PARTS)]
Content = Annotated[Annotated[str, Tag("<text>")] | Annotated[Parts, Tag("<form>")], Discriminator(_form)]


class CalledFunction(Strict):
    name: Name
    arguments: str


class ToolCall(Strict):
    index: int | None = None
    id: Label
    type: Literal["function"]
    function: CalledFunction


class ChatMessage(Strict):
    """A message; what an assistant's message holds in a response is accepted as it was."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(fail_fast=True, max_length=128)] | None = None
    tool_call_id: Label | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None


class Function(Strict):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    type: Literal["function"]
    function: Function


class NamedFunction(Strict):
    name: Name


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


ToolMode = Literal["none", "auto", "required"]
ToolChoice = Annotated[Annotated[ToolMode, Tag("<text>")] | Annotated[NamedTool, Tag("<form>")], Discriminator(_form)]


class TextFormat(Strict):
    type: Literal["text"]


class JsonFormat(Strict):
    type: Literal["json_object"]


class JsonSchema(Strict):
    name: Name
    description: str | None = None
    form: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class StreamOptions(Strict):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


StopText = Annotated[str, Field(min_length=1, max_length=256)]
StopTexts = Annotated[list[StopText], Field(max_length=4)]
Stop = Annotated[Annotated[StopText, Tag("<text>")] | Annotated[StopTexts, Tag("<form>")], Discriminator(_form)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
TokenId = Annotated[str, Field(pattern="^[0-9]{1,6}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]


class ChatRequest(Strict):
    """A chat completion of OpenAI's API, within the parameters that the gateway can bound."""

    model: Annotated[str, Field(description="mistral, gpt-4 or candidate")]
    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=2048)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Limit | None = None
    max_tokens: Limit | None = None
    n: Annotated[int, Field(gt=0, le=MAX_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Share | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=300)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | None = None
    response_format: Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")] | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    service_tier: Literal["default"] | None = None
    store: Literal[False] | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    metadata: Annotated[dict[Label, Label], Field(max_length=16)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1000, description="mistral only, as the next four")] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    ignore_eos: bool | None = None

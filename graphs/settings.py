"""Settings of the graph algorithms: canonical values, co-occurrence, walks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error, never a silent typo."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CanonicalSettings(Section):
    """When two raw values of one (type, field) count as the same."""

    similarity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.85
    max_values_per_group: Annotated[int, Field(ge=1)] = 20_000


class WalkSettings(Section):
    """Weighted random walks over distinct fields (WildLong, Eq. 1)."""

    nodes: Annotated[int, Field(ge=2, le=11)] = 6
    min_nodes: Annotated[int, Field(ge=2, le=11)] = 4
    edge_weight: Literal["paper", "sublinear"] = "paper"
    epsilon: Annotated[float, Field(ge=0.0)] = 1e-6
    tau: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5  # exponent of `sublinear`
    max_redraws: Annotated[int, Field(ge=0)] = 20
    max_candidates_per_target: Annotated[int, Field(ge=1)] = 20

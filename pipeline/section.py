"""What every section of a config is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Cannot be changed once it is read, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

"""What a recorded benchmark is of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trails.errors import UnusableData

FORMAT, VERSION = "trails.bench", 1


@dataclass(frozen=True)
class Setting:
    """What a benchmark is of. Two builders' tables belong together if all of it is equal.

    Args:
        dataset: Its name.
        digest: Of its encoded rows.
        rows: Training, validation and test rows.
        fields: Columns that are features.
        space: Name of the space.
        sample_seed: Of the permutation of the space.
        epochs: Of every training.
        options: How candidates are trained.
    """

    dataset: str
    digest: str
    rows: Mapping[str, int]
    fields: int
    space: str
    sample_seed: int
    epochs: int
    options: Mapping[str, Any]

    def to_json(self) -> str:
        """The setting as the file holds it."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str) -> Setting:
        """Read what `to_json` wrote.

        Args:
            text: Of the file.
            name: Of the file, for people.

        Raises:
            UnusableData: Not a setting, or of another version.
        """
        try:
            found = json.loads(text)
            form, version = found.pop("format"), found.pop("version")
            if (form, version) != (FORMAT, VERSION):
                raise UnusableData(
                    f"{name} is of another version: {form} {version}", hint=f"This release reads {FORMAT} {VERSION}."
                )
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnusableData(f"{name} is no setting of a benchmark", detail=str(error)) from error

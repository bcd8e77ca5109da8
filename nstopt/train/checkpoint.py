"""A training's state on disk: written atomically, read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from nstopt.errors import TrainingError
from nstopt.files import atomic_path

NAME = "checkpoint.pt"


class Stateful(Protocol):
    """A module, an optimizer, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> Any: ...


class Checkpoint:
    """`checkpoint.pt` in the folder `run`: the states of `parts`, the step, and the settings of the training."""

    def __init__(self, run: Path, settings: Mapping[str, str], parts: Mapping[str, Stateful]) -> None:
        self._path, self._settings, self._parts = run / NAME, dict(settings), parts

    def start(self, resume: bool, device: torch.device) -> int:
        """The step to go on after: that of the checkpoint, whose states are loaded, or 0 where there is none.

        Raises TrainingError if there is one and `resume` is false, or it is damaged or of another training.
        """
        if not self._path.exists():
            return 0
        if not resume:
            raise TrainingError(f"{self._path} is there from a training before: give --resume, or another --run folder")
        saved = self._read(device)
        if differing := self._differences(saved["settings"]):
            raise TrainingError(
                f"{self._path} is of another training ({'; '.join(differing)}): give the same options, or another --run"
            )
        for name, part in self._parts.items():
            part.load_state_dict(saved[name])
        return int(saved["step"])

    def save(self, step: int) -> None:
        """Write the state after `step`. Raises TrainingError if that cannot be done."""
        states = {name: part.state_dict() for name, part in self._parts.items()}
        try:
            with atomic_path(self._path) as temporary:
                torch.save({"step": step, "settings": self._settings, **states}, temporary)
        except (OSError, RuntimeError) as error:
            raise TrainingError(f"{self._path}: the checkpoint of step {step} cannot be written ({error})") from error

    def _read(self, device: torch.device) -> dict[str, Any]:
        try:
            saved = torch.load(self._path, map_location=device, weights_only=True)
        except Exception as error:  # a damaged pickle can make the unpickler raise anything
            raise TrainingError(
                f"{self._path} cannot be read ({type(error).__name__}): remove it to start from the beginning"
            ) from error
        if not isinstance(saved, dict) or not {"step", "settings", *self._parts} <= saved.keys():
            raise TrainingError(f"{self._path} is no checkpoint of a training: give another --run folder")
        return saved

    def _differences(self, saved: Mapping[str, str]) -> list[str]:
        names = sorted(saved.keys() | self._settings.keys())
        return [
            f"{name} was {saved.get(name, 'not set')}, is {self._settings.get(name, 'not set')}"
            for name in names
            if saved.get(name) != self._settings.get(name)
        ]

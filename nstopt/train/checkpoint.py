"""Checkpoints of a training: written atomically, read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from nstopt.errors import TrainingError
from nstopt.files import atomic_path

NAME = "checkpoint.pt"


class Stateful(Protocol):
    """A module, an optimizer or a gradient scaler."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> Any: ...


class Checkpoint:
    """The file `checkpoint.pt` in the folder `run`: the states of `parts`, the step, and the training's settings."""

    def __init__(self, run: Path, settings: Mapping[str, str], parts: Mapping[str, Stateful]) -> None:
        self._path, self._settings, self._parts = run / NAME, dict(settings), parts

    def start(self, resume: bool, device: torch.device) -> int:
        """Load an existing checkpoint into the parts and return its step; return 0 if there is none.

        Raises TrainingError if there is one and `resume` is false, or if it is damaged or has other settings.
        """
        if not self._path.exists():
            return 0
        if not resume:
            raise TrainingError(f"{self._path} exists from an earlier training: give --resume, or another --run folder")
        saved = self._read(device)
        if differing := self._differences(saved["settings"]):
            raise TrainingError(
                f"{self._path} has other settings ({'; '.join(differing)}): give the same options, or another --run"
            )
        for name, part in self._parts.items():
            part.load_state_dict(saved[name])
        return int(saved["step"])

    def save(self, step: int) -> None:
        """Write the state after `step`. Raises TrainingError if the file cannot be written."""
        states = {name: part.state_dict() for name, part in self._parts.items()}
        try:
            with atomic_path(self._path) as temporary:
                torch.save({"step": step, "settings": self._settings, **states}, temporary)
        except (OSError, RuntimeError) as error:
            raise TrainingError(f"{self._path}: the checkpoint of step {step} cannot be written ({error})") from error

    def _read(self, device: torch.device) -> dict[str, Any]:
        try:
            saved = torch.load(self._path, map_location=device, weights_only=True)
        except Exception as error:  # on a damaged pickle, the unpickler can raise anything
            raise TrainingError(
                f"{self._path} cannot be read ({type(error).__name__}): remove it to start from the beginning"
            ) from error
        if not isinstance(saved, dict) or not {"step", "settings", *self._parts} <= saved.keys():
            raise TrainingError(f"{self._path} is not a training's checkpoint: give another --run folder")
        return saved

    def _differences(self, saved: Mapping[str, str]) -> list[str]:
        names = sorted(saved.keys() | self._settings.keys())
        return [
            f"{name} was {saved.get(name, 'not set')}, is {self._settings.get(name, 'not set')}"
            for name in names
            if saved.get(name) != self._settings.get(name)
        ]

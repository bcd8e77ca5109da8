"""Nets that come with nstopt, so that every command works before a user has a net of their own. How each was trained is
in docs/nets.md."""

from pathlib import Path

FOLDER = Path(__file__).parent
SAMPLES: dict[str, Path] = {
    name: FOLDER / f"{name}.safetensors" for name in ("johnson_starry", "reconet_wave", "realtime_starry")
}
"""A Johnson net in the style of Van Gogh's Starry Night; a ReCoNet (filter response norm) in that of Hokusai's Great
Wave, which does not flicker; and a student of the first, for slow machines."""
SAMPLE = SAMPLES["johnson_starry"]
"""The one that commands take where none is named."""

"""Nets that come with nstopt, so that every command works without a net of the user's own.

docs/nets.md says how each was trained.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
SAMPLES: dict[str, Path] = {
    name: FOLDER / f"{name}.safetensors" for name in ("johnson_starry", "reconet_wave", "realtime_starry")
}
"""A Johnson net in the style of Van Gogh's Starry Night; a ReCoNet (filter response norm), which flickers less, in
that of Hokusai's Great Wave; and a student of the first, for slow machines."""
SAMPLE = SAMPLES["johnson_starry"]
"""The net that commands use by default."""

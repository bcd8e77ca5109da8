"""The net that comes with nstopt, so that every command works before a user has a net of their own."""

from pathlib import Path

SAMPLE: Path = Path(__file__).parent / "johnson_starry.safetensors"
"""A small Johnson net in the style of Van Gogh's Starry Night; how it was trained is in docs/nets.md."""

"""Unit tests run natively and without a host: `python3 -m unittest`, from the project's folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "stubs"))

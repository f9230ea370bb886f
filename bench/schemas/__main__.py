"""`python -m bench.schemas [FOLDER]`: writes the schemas into a folder, by default into this package."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import schemas

if __name__ == "__main__":
    for path in schemas.write(Path(sys.argv[1]) if len(sys.argv) > 1 else schemas.FOLDER):
        sys.stdout.write(f"{path}\n")

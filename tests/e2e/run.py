"""What ctest runs: the end-to-end tests with the Python of scripts/test.sh's environment, or a skip (77) without it.
    run.py QUORUM_BINARY ENVIRONMENT [pytest arguments]"""

import os
import pathlib
import subprocess
import sys

binary, environment, *rest = sys.argv[1:]
python = pathlib.Path(environment, "bin/python")
if not python.exists():
    print(f"skipped: no {python} (scripts/test.sh makes it)")
    sys.exit(77)
sys.exit(subprocess.run([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(pathlib.Path(__file__).parent), *rest],
                        env={**os.environ, "QUORUM_BINARY": binary}).returncode)

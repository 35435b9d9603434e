"""What ctest runs: a small, fixed part of tests/tools/grammar_fuzz.py, or a skip (77) where scripts/test.sh has made no
environment with jsonschema.
    fuzz_sample.py GRAMMAR_SAMPLE ENVIRONMENT"""

import pathlib
import subprocess
import sys

program, environment = sys.argv[1:]
python = pathlib.Path(environment, "bin/python")
tool = pathlib.Path(__file__).parents[1] / "tools/grammar_fuzz.py"
if not python.exists() or subprocess.run([python, "-c", "import jsonschema"], capture_output=True).returncode != 0:
    print(f"skipped: no {python} with jsonschema (scripts/test.sh makes it)")
    sys.exit(77)
sys.exit(subprocess.run([python, tool, program, "--schemas", "150", "--samples", "2", "--regexes", "200", "--grammars", "80"]).returncode)

"""Runs the Node programs against the same server. QUORUM_NODE_MODULES is the folder that holds node_modules/."""

import os
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
MODULES = pathlib.Path(os.environ.get("QUORUM_NODE_MODULES", HERE.parents[1] / "build/e2e-node"))


@pytest.mark.parametrize("program, package", [("openai_sdk.mjs", "openai"), ("other_sdks.mjs", "ai")])
def test_node_sdks(base_url, program, package):
    if shutil.which("node") is None or not (MODULES / "node_modules" / package).is_dir():
        pytest.skip("no Node SDKs (QUORUM_NODE_MODULES)")
    done = subprocess.run(["node", str(HERE / program)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "QUORUM_BASE_URL": base_url, "OPENAI_MODULE": str(MODULES)})
    assert done.returncode == 0, done.stdout + done.stderr

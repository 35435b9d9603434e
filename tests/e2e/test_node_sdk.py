"""Runs openai_sdk.mjs against the same server. QUORUM_NODE_MODULES is the folder that holds node_modules/openai."""

import os
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
MODULES = pathlib.Path(os.environ.get("QUORUM_NODE_MODULES", HERE.parents[1] / "build/e2e-node"))


def test_node_sdk(base_url):
    if shutil.which("node") is None or not (MODULES / "node_modules/openai").is_dir():
        pytest.skip("no Node SDK (QUORUM_NODE_MODULES)")
    done = subprocess.run(["node", str(HERE / "openai_sdk.mjs")], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "QUORUM_BASE_URL": base_url, "OPENAI_MODULE": str(MODULES)})
    assert done.returncode == 0, done.stdout + done.stderr

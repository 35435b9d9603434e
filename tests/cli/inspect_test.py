"""`quorum inspect` on every model of tests/fixtures/model: it names the family, all and active parameters, experts and top-k.
    inspect_test.py QUORUM"""
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "model"
EXPERT = re.compile(r"(?:layers|block)\.(\d+)\..*\bexperts\.(?:expert_)?(\d+)\.")


def inspect(quorum, path):
    text = subprocess.run([quorum, "inspect", path], capture_output=True, text=True, check=True).stdout
    data = json.loads(subprocess.run([quorum, "inspect", "--json", path], capture_output=True, text=True, check=True).stdout)
    return text, data


def elements(folder):
    """Tensor name -> number of elements, from the headers."""
    out = {}
    for file in sorted(folder.glob("model*.safetensors")):
        raw = file.read_bytes()
        header = json.loads(raw[8:8 + struct.unpack("<Q", raw[:8])[0]])
        for name, entry in header.items():
            if name != "__metadata__":
                count = 1
                for axis in entry["shape"]:
                    count *= axis
                out[name] = count
    return out


def check_folder(quorum, folder):
    config = json.loads((folder / "config.json").read_text())
    text, data = inspect(quorum, folder)
    assert data["family"] and data["family"] in text, data
    assert data["architecture"] == config["model_type"], data
    if config.get("is_encoder_decoder"):
        assert data["encoder_layers"] == config["num_layers"], data
        assert data["layers"] == config.get("num_decoder_layers", config["num_layers"]), data
        assert "rope" not in data, data
    used = config.get("num_experts_per_tok", 1)  # Switch Transformers have no such key
    experts = next((config[key] for key in ("num_local_experts", "num_experts", "n_routed_experts") if config.get(key)), 0)
    assert data["experts"] == experts, data
    if experts:
        assert data["experts_used"] == used, data
        assert f"{experts} a layer, {used} used a token" in text, text
    if "quantization_config" in config:
        assert data["quantized"].startswith(config["quantization_config"]["quant_method"]), data
        return
    sizes = elements(folder)
    names = [name for name in sizes if EXPERT.search(name)]
    assert data["parameters"] == sum(sizes.values()), (data["parameters"], sum(sizes.values()))
    if names:  # one tensor a matrix and expert: those of the experts that a token leaves out do not count
        idle = sum(sizes[name] for name in names if int(EXPERT.search(name)[2]) >= used)
        assert data["active_parameters"] == sum(sizes.values()) - idle, data
    elif not experts:
        assert data["active_parameters"] == data["parameters"], data


def check_unprintable(quorum):
    """A name in a file must not move the terminal, nor end the message that tells of it."""
    key = b"general.architecture" + struct.pack("<IQ", 8, 5)
    raw = (FIXTURES / "llama.gguf").read_bytes()
    assert key + b"llama" in raw
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(raw.replace(key + b"llama", key + b"\x1b[2\x00J"))
        file.flush()
        done = subprocess.run([quorum, "run", file.name, "-p", "x"], capture_output=True)
    assert done.returncode == 1, done
    assert b"\x1b" not in done.stderr and b"\0" not in done.stderr and b"is not supported" in done.stderr, done.stderr


def main():
    quorum = sys.argv[1]
    check_unprintable(quorum)
    seen = 0
    for folder in sorted(FIXTURES.iterdir()):
        if (folder / "config.json").exists():
            try:
                check_folder(quorum, folder)
            except subprocess.CalledProcessError as error:
                sys.exit(f"{folder.name}: {error.stderr}")
            seen += 1
            gguf = folder.with_suffix(".gguf")
            if gguf.exists():
                text, data = inspect(quorum, gguf)
                assert data["family"] and data["family"] in text, (gguf, data)
    assert seen >= 12, seen
    print(f"{seen} folders")


if __name__ == "__main__":
    main()

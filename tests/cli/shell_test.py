"""The man page and the completion scripts know every command and every flag that --help shows, and shells take them.
    shell_test.py QUORUM_BINARY"""

import re
import shutil
import subprocess
import sys

BINARY = sys.argv[1]


def run(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, check=True, **options).stdout


def flags_of(help_text):
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", "\n".join(
        re.split(r"\s{2,}", line.strip())[0] for line in help_text.splitlines() if re.match(r"  -", line))))


help_text = run(BINARY, "--help")
commands = re.findall(r"^  ([a-z]+) ", help_text[help_text.index("Commands"):help_text.index("Options:")], re.MULTILINE)
assert {"serve", "run", "bench", "pull", "completion"} <= set(commands), commands
flags = {command: flags_of(run(BINARY, command, "--help")) for command in commands}
assert "--port" in flags["serve"]

page = run(BINARY, "man")
for command in commands:
    section = page.split(f"\n.SS {command}\n")[1].split("\n.SS ")[0].replace("\\-", "-")
    for flag in flags[command]:
        assert f"\\fB{flag}\\fR" in section, (command, flag)
if shutil.which("groff"):
    made = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True)
    assert made.returncode == 0 and not made.stderr, made.stderr

scripts = {shell: run(BINARY, "completion", shell) for shell in ("bash", "zsh", "fish")}


def complete(*words):
    """What bash offers for the last word."""
    quoted = " ".join("'%s'" % word for word in ("quorum", *words))
    return run("bash", "-c", f'{scripts["bash"]}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _quorum; '
                             'printf "%s\\n" "${COMPREPLY[@]}"').split()


assert set(complete("")) == set(commands)
assert complete("se") == [command for command in commands if command.startswith("se")]
for command in commands:
    assert flags[command] <= set(complete(command, "--")), command
assert complete("serve", "--kv", "i") == ["int8"]
assert complete("serve", "model.gguf", "--po") == ["--port", "--pooling"] or set(complete("serve", "m", "--po")) == {"--port", "--pooling"}
assert complete("serve", "--log-level", "de") == ["debug"]
assert complete("completion", "z") == ["zsh"]
for shell in ("zsh", "fish"):
    for command in commands:
        assert re.search(rf"\b{command}\b", scripts[shell]), (shell, command)
    for flag in flags["serve"]:
        assert (flag if shell == "zsh" else f"-l {flag[2:]} ") in scripts[shell], (shell, flag)
    if shutil.which(shell):
        subprocess.run([shell, "-n"] if shell == "zsh" else [shell, "--no-execute"], input=scripts[shell], text=True, check=True)
print(f"{len(commands)} commands, {sum(map(len, flags.values()))} flags")

#!/usr/bin/env python3
"""Makes tests/fixtures/templates/*.json: what transformers and Jinja2 make of chat templates.

  conversations.json  message lists and options, used with every model template
  models/NAME.jinja   chat templates of models (kept as they are; MODELS.md has origin and licence)
  models/NAME.json    for each conversation what the template renders, or that it fails
  snippets.json       small templates for one feature each, with what Jinja2 renders, or that it fails

Needs transformers 5.23 and jinja2 3.1.6; run from anywhere: make_template_fixtures.py. The versions go into the files.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import transformers
from transformers.utils import chat_template_utils

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import template_conversations  # noqa: E402
import template_snippets  # noqa: E402

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "templates"
NOW = 1732276805  # 2024-11-22 12:00:05 UTC, a Friday


class FixedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)


chat_template_utils.datetime = FixedDatetime


class Raised(Exception):
    """What raise_exception() raises, told apart from Jinja's own errors."""


def raise_exception(message):
    raise Raised(message)


compile_template = chat_template_utils._compile_jinja_template


def compile_with_raised(source):
    template = compile_template(source)
    template.environment.globals["raise_exception"] = raise_exception
    template.globals["raise_exception"] = raise_exception
    return template


chat_template_utils._compile_jinja_template = compile_with_raised


def render_chat(source, conversation):
    """The prompt that transformers' apply_chat_template makes; {"raises": text} for what the template itself raises, None
    for other failures."""
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[conversation["messages"]],
            tools=conversation.get("tools"),
            chat_template=source,
            add_generation_prompt=conversation.get("add_generation_prompt", True),
            bos_token="<s>",
            eos_token="</s>",
            **conversation.get("extra", {}),
        )
        return rendered[0]
    except Raised as raised:
        return {"raises": str(raised)}
    except Exception:  # whatever a template may raise
        return None


def render_snippet(source, variables):
    """What the template renders with these variables in transformers' environment, or None if it raises."""
    try:
        template = chat_template_utils._compile_jinja_template(source)
        return template.render(
            messages=[], tools=None, documents=None, add_generation_prompt=False, bos_token="<s>", eos_token="</s>",
            **variables,
        )
    except Exception:
        return None


def versions():
    return {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "now_unix": NOW}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{path.relative_to(FIXTURES)}: {path.stat().st_size} bytes")


def main():
    conversations = template_conversations.CONVERSATIONS
    write(FIXTURES / "conversations.json", conversations)
    for path in sorted((FIXTURES / "models").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        results = {c["name"]: render_chat(source, c) for c in conversations}
        write(path.with_suffix(".json"), {"made_with": versions(), "renders": results})
    cases = []
    for group, variables, sources in template_snippets.GROUPS:
        for source in sources:
            cases.append({"group": group, "source": source, "renders": render_snippet(source, variables)})
    write(FIXTURES / "snippets.json", {"made_with": versions(), "variables": {g: v for g, v, _ in template_snippets.GROUPS},
                                       "cases": cases})
    print(f"{len(cases)} snippets, {sum(c['renders'] is None for c in cases)} of them fail")


if __name__ == "__main__":
    main()
